"""The images of a tree of folders, as deep as it goes; everything else in it is counted."""

from collections.abc import Iterator

from .images import begins_as_image, is_hidden, is_image, may_be_image
from .passed import PassedOver
from .storage import Storage

HIDDEN = "hidden or system files and folders"
OTHER = "files that are no images"
UNREADABLE = "files that cannot be read"
LOOP = "links to a folder that they lie in"


def images_below(files: Storage, folder: str, passed: PassedOver) -> Iterator[str]:
    """Paths of the images in a folder and in all folders below it, links followed, in no order.

    Lazy, so a caller that needs one image lists few folders. What is no image is added to `passed`."""
    todo: list[tuple[str, tuple[str, ...]]] = [(folder, ())]
    while todo:
        at, links = todo.pop()  # links: the real folders that held the links on the way here
        for entry in sorted(files.entries(at)):
            path = f"{at}/{entry.name}".lstrip("/")
            if is_hidden(entry.name):
                passed.add(HIDDEN, path)
            elif not entry.is_dir:
                if _is_image(files, path, entry.name, passed):
                    yield path
            elif not entry.is_link:
                todo.append((path, links))
            elif leads_back(files.real(path), held := (*links, files.real(at))):
                passed.add(LOOP, path)
            else:
                todo.append((path, held))


def folders_in(files: Storage, folder: str = "") -> list[str]:
    """Sorted names of the visible folders in a folder."""
    return sorted(e.name for e in files.entries(folder) if e.is_dir and not is_hidden(e.name))


def holds_images(files: Storage, folder: str) -> bool:
    """Whether there is an image in a folder or below it. True when it may not be read: reading it will say so."""
    try:
        return any(True for _ in images_below(files, folder, PassedOver()))
    except OSError:
        return True


def leads_back(target: str, held: tuple[str, ...]) -> bool:
    """Whether a link's target is or holds a folder on the way to it: the walk would never end."""
    return any(f"{folder}/".startswith(f"{target.rstrip('/')}/") for folder in held)


def _is_image(files: Storage, path: str, name: str, passed: PassedOver) -> bool:
    if is_image(name):
        return True
    try:
        if may_be_image(name) and begins_as_image(files, path):
            return True
        passed.add(OTHER, path)
    except OSError:
        passed.add(UNREADABLE, path)
    return False
