"""Columns of a table of the Hugging Face hub: which one has the images, which one the labels."""

import json
from typing import NamedTuple

import pyarrow as pa

from ..errors import UserError

IMAGES = ("image", "img", "picture", "jpg", "png")
LABELS = ("label", "labels", "fine_label", "cls", "class", "target")


class Columns(NamedTuple):
    """Names of the columns that a source needs."""

    image: str  # the bytes; `image.bytes` is field `bytes` of struct `image`
    path: str | None
    label: str | None
    names: tuple[str, ...]  # of the classes; () = the schema has none


def columns_of(schema: pa.Schema, name: str) -> Columns:
    """The image column by its type, the label column by its name; UserError about table `name` without such columns."""
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and _has_bytes(f.type)]
    plain = [f.name for f in schema if f.name in IMAGES and _is_bytes(f.type)]
    found = [n for n in IMAGES if n in structs + plain][:1] or structs
    if len(found) != 1:
        fault = f"has several columns of images ({', '.join(found)})" if found else "has no column of images"
        raise UserError(f"{name} {fault}: it needs one struct of bytes and path, called image, for example")
    image, path = found[0], None
    if image in structs:
        path = f"{image}.path" if schema.field(image).type.get_field_index("path") >= 0 else None
        image += ".bytes"
    label = next((n for n in LABELS if n in schema.names), None)
    if label and not pa.types.is_integer(schema.field(label).type):
        raise UserError(f"{name}: column {label} is {schema.field(label).type}: labels are whole numbers")
    return Columns(image, path, label, _class_names(schema, label))


def _has_bytes(kind: pa.StructType) -> bool:
    return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...]:
    """The class names that the `datasets` library writes into the schema, () without valid ones."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = tuple(map(str, features[label]["names"]))
        "".join(names).encode()  # JSON can hold strings that are not valid Unicode
        return names
    except (KeyError, ValueError, TypeError, RecursionError):
        return ()
