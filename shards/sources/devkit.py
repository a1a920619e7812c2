"""Classes of ILSVRC's validation images, from the development kit or from Kaggle's tables."""

import csv
import io
import lzma
import tarfile
import zlib

from ..errors import UserError
from .local import Local
from .matfile import load
from .storage import Storage

KIT = "ILSVRC2012_devkit_t12"
TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
KAGGLE = "LOC_val_solution.csv"
HEADER = b"ImageId,PredictionString"  # its first line


def truth_near(files: Storage, names: list[str]) -> dict[str, str] | None:
    """`truth` from the tables in a folder or up to three folders above it (Kaggle's lie there), None without any."""
    above = [Local(folder) for folder in files.root.absolute().parents[:3]] if isinstance(files, Local) else []
    tables = (KAGGLE, f"{KIT}.tar.gz", f"{KIT}.tar", f"{KIT}/data/{TRUTH}")
    found = next((folder for folder in (files, *above) if any(map(folder.exists, tables))), None)
    return truth(found, names) if found else None


def truth(files: Storage, names: list[str]) -> dict[str, str]:
    """{stem of a validation image: wnid}, for the sorted `names` of all images."""
    if files.exists(KAGGLE):
        return kaggle(files.read(KAGGLE), files.show(KAGGLE))
    wnids = _wnids(files)
    if len(wnids) != len(names):
        raise UserError(
            f"{TRUTH} has {len(wnids)} lines, there are {len(names)} validation images in {files.show()}: are both "
            "complete?"
        )
    return dict(zip((name.rpartition(".")[0] for name in names), wnids, strict=True))


def kaggle(text: bytes, name: str) -> dict[str, str]:
    """{stem: wnid} from lines `ImageId,PredictionString`; the prediction begins with the wnid."""
    try:
        rows = csv.DictReader(io.StringIO(text.decode("utf-8-sig")))
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except (KeyError, IndexError, ValueError, AttributeError, csv.Error) as error:
        raise UserError(f"{name} is not Kaggle's table ({error!r}): fetch it again") from error


def _wnids(files: Storage) -> list[str]:
    """The wnid of each validation image, in the order of their sorted names."""
    where, text, meta = _kit(files)
    try:
        leaves = [row for row in load(meta)["synsets"] if row["num_children"] == [0]]  # the others are their parents
        wnid = {int(row["ILSVRC2012_ID"][0]): str(row["WNID"]) for row in leaves}
        return [wnid[int(word)] for word in text.split()]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{where}: {TRUTH} or {META} is damaged ({error!r}): fetch the kit again") from error


def _kit(files: Storage) -> tuple[str, bytes, bytes]:
    """(name of the kit, ground truth, meta.mat), from the unpacked kit or its archive."""
    for folder in (f"{KIT}/data/", "data/", ""):
        if files.exists(folder + TRUTH) and files.exists(folder + META):
            return files.show(folder), files.read(folder + TRUTH), files.read(folder + META)
    for packed in (f"{KIT}.tar.gz", f"{KIT}.tar"):
        if files.exists(packed):
            return files.show(packed), *_unpacked(files, packed)
    raise UserError(
        f"{files.show()} does not say which classes its validation images have: put there {KIT}.tar.gz, or "
        f"{KIT}/data/ with {TRUTH} and {META}, or Kaggle's {KAGGLE}"
    )


def _unpacked(files: Storage, packed: str) -> tuple[bytes, bytes]:
    """The ground truth and meta.mat in the kit's archive."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(files.read(packed))) as kit:
            for member in kit:
                name = member.name.rpartition("/")[2]
                if name in (TRUTH, META) and (file := kit.extractfile(member)):
                    found[name] = file.read()
        return found[TRUTH], found[META]
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, KeyError, ValueError) as error:
        raise UserError(f"{files.show(packed)} is damaged or not the kit ({error!r}): fetch it again") from error
