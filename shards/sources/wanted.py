"""What to take of a source that can hold more than one image and one label per sample."""

from dataclasses import dataclass

from ..errors import UserError

NONE = "none"  # as a label: leave the labels out


@dataclass(frozen=True)
class Wanted:
    """Names of members of a tar or columns of a table; an empty one is found by itself."""

    member: str = ""  # suffix of the image in tars, `jpg` or `input.jpg`
    image: str = ""  # column of the images in a table
    label: str = ""  # column of the labels in a table; suffix, or field of the .json, in tars; NONE
    fields: tuple[str, ...] = ()  # suffixes of further members of tars to carry along

    def __post_init__(self) -> None:
        cleaned = (name.lower().removeprefix(".") for name in self.fields)
        object.__setattr__(self, "fields", tuple(dict.fromkeys(cleaned)))
        if taken := {"jpg", "cls"}.intersection(self.fields):
            raise UserError(
                f"--fields {min(taken)}: the tars have a .{min(taken)} with the image or label, leave it out"
            )
        object.__setattr__(self, "member", self.member.lower().removeprefix("."))

    def only(self, kind: str, *names: str) -> None:
        """UserError when anything but `names` is given, for a source of this kind, which has nothing else."""
        flags = {"member": "--member", "image": "--image-column", "label": "--label-column", "fields": "--fields"}
        for name, flag in flags.items():
            if getattr(self, name) and name not in names:
                raise UserError(f"{flag} does not apply to a source of kind {kind}: leave it out")


ANY = Wanted()  # everything is found by itself
