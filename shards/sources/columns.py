"""Columns of a table of the Hugging Face hub: which one has the images, which one the labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from ..errors import UserError, choose
from ..unpack import parsed_json
from .labels import ALIKE, label_name
from .wanted import NONE, Wanted

IMAGES = ("image", "img", "picture", "jpg", "png")


class Columns(NamedTuple):
    """Names of the columns that a source needs."""

    image: str  # the bytes; `image.bytes` is field `bytes` of struct `image`
    path: str | None
    label: str | None
    names: tuple[str, ...]  # of the classes; () = the schema has none
    others: tuple[str, ...]  # columns that are left out


def columns_of(schema: pa.Schema, name: str, wanted: Wanted) -> Columns:
    """The image column by its type, the label column by its mark or name, or both as `wanted`; UserError about table
    `name` without such columns, or with several."""
    image, path = _image(schema, name, wanted), None
    label = _label(schema, name, wanted)
    if label and not _is_label(kind := schema.field(label).type):
        raise UserError(
            f"{name}: column {label} is {kind}: labels are whole numbers or names, --label-column none leaves it out"
        )
    others = tuple(column for column in schema.names if column not in (image, label))
    if pa.types.is_struct(schema.field(image).type):
        path = f"{image}.path" if schema.field(image).type.get_field_index("path") >= 0 else None
        image += ".bytes"
    return Columns(image, path, label, _class_names(schema, label), others)


def _image(schema: pa.Schema, name: str, wanted: Wanted) -> str:
    """The column of the images."""
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and _has_bytes(f.type)]
    plain = [f.name for f in schema if _is_bytes(f.type)]
    if wanted.image:
        return choose("column of images", wanted.image, structs + plain)
    named = [n for n in IMAGES if n in structs + plain]
    found = named[:1] or _marked(schema, "Image", structs) or structs or plain
    if len(found) != 1:
        fault = f"has several columns of images ({', '.join(found)})" if found else "has no column of images"
        remedy = "choose one with --image-column" if found else "it needs one struct of bytes and path, called image"
        raise UserError(f"{name} {fault}: {remedy}")
    return found[0]


def _label(schema: pa.Schema, name: str, wanted: Wanted) -> str | None:
    """The column of the labels; None without one, or when labels are to be left out."""
    if wanted.label:
        return None if wanted.label == NONE else choose("column of labels", wanted.label, schema.names)
    marked = _marked(schema, "ClassLabel", schema.names)
    named = label_name(marked) or label_name(schema.names)
    alike = [f.name for f in schema if ALIKE.search(f.name) and (pa.types.is_integer(f.type) or _is_text(f.type))]
    if named in marked or (named and not marked) or len(marked) == 1:
        return named or marked[0]
    if found := marked or alike:
        raise UserError(
            f"{name} has columns that look like labels ({', '.join(found)}): choose one with --label-column, or leave "
            "labels out with --label-column none"
        )
    return None


def _is_label(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold labels: numbers, or names of classes."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return number or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _has_bytes(kind: pa.StructType) -> bool:
    return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _marked(schema: pa.Schema, kind: str, names: Sequence[str]) -> list[str]:
    """The columns among `names` that the `datasets` library marks as of this kind."""
    features = _features(schema)
    return [name for name in names if isinstance(features.get(name), dict) and features[name].get("_type") == kind]


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...]:
    """The class names that the `datasets` library writes into the schema, () without valid ones."""
    try:
        names = tuple(map(str, _features(schema)[label]["names"]))
        "".join(names).encode()  # JSON can hold strings that are not valid Unicode
        return names
    except (KeyError, ValueError, TypeError):
        return ()


def _features(schema: pa.Schema) -> dict[Any, Any]:
    """The description of columns that the `datasets` library writes into the schema, {} without a valid one."""
    try:
        features = parsed_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}
