"""The numbers of hash purposes are frozen: the order, masks and draws of old runs stay reproducible."""

from viewstream.shards.keyed import Purpose

FROZEN = {
    "RESEED": 0,
    "SHUFFLE_BN": 1,
    "POSITIVES": 2,
    "MASKS": 3,
    "DROPOUT": 4,
    "SHARD_ORDER": 101,
    "CLASS_ORDER": 102,
    "IMAGE_ORDER": 103,
    "REPLACEMENT": 104,
    "CORNERS": 108,
    "PATCH": 109,
    "UNIFORMITY": 110,
    "OCCURRENCE": 111,
    "MINI_BATCHES": 112,
    "EPOCH_KEY": 113,
    "CYCLE_KEY": 114,
    "PASS_KEY": 115,
}


def test_every_purpose_keeps_its_own_number():
    found = {purpose.name: purpose.value for purpose in Purpose}
    assert found.items() >= FROZEN.items()
    assert len(set(found.values())) == len(found)
