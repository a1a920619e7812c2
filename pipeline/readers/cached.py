"""What a cache of remote sets, or a stage, holds, compared with the digests of their builds."""

from pathlib import Path

from ...shards.care.verify import sound, verify
from ...shards.columns import FILE
from ...shards.errors import UserError
from ...shards.sources.local import Local
from ...shards.unpack import MAX_PIXELS
from .remote import ORIGIN, TARS, name_in_cache, staged_from


def sets_in(folder: Path) -> list[Path]:
    """The folders of sets in a cache: `folder` itself may be one."""
    if (folder / ORIGIN).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{ORIGIN}"))


def verify_cached(root: Path, workers: int = 0, max_pixels: int = MAX_PIXELS) -> tuple[list[str], int]:
    """Lines that name what is damaged of a set in a cache or a stage and what to do, and how many of its files are
    here. Files that are staged from a local set are compared with its digests, so the set has to be there."""
    local = remedy = None
    try:
        local = staged_from(root)
        remedy = "" if local else f", or remove {root}: the next start fetches it again"
        manifest = sound(local or root, max_pixels)
        cache, names = root.parent / TARS, {line["file"]: name_in_cache(line) for line in manifest.info.files}
        here = {file: name for file, name in names.items() if (cache / name).exists()}
        if not all(file in here for file in names if file.endswith(".beton")):  # samples are counted over all of them
            here = {file: name for file, name in here.items() if file.endswith(".tar")}
        damages = verify(manifest, workers, Local(cache), here)
    except UserError as error:
        return [f"{error}{remedy or ''}"], 0
    again = {file: f"{cache / name} ({file} of {root.name})" for file, name in here.items()}
    again |= {} if local else {FILE: str(root / FILE)}
    return [
        f"{again[damage.file]}: {damage.cause}: remove it, the next start brings it again"
        for damage in damages
        if damage.file in again  # not what is damaged at a local source
    ], len(here)
