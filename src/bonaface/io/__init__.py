"""Read tables and write files."""

from bonaface.io.files import (
    check_free,
    fresh_folder,
    json_safe,
    new_folder,
    now,
    read_json,
    remove_file,
    versions,
    write_bytes,
    write_json,
    write_text,
)
from bonaface.io.tables import (
    TABLE_SUFFIXES,
    TextTable,
    as_text,
    decimal_comma,
    is_utf8,
    read_table,
    relative_paths,
    text_frame,
    write_table,
)

__all__ = [
    "TABLE_SUFFIXES",
    "TextTable",
    "as_text",
    "check_free",
    "decimal_comma",
    "fresh_folder",
    "is_utf8",
    "json_safe",
    "new_folder",
    "now",
    "read_json",
    "read_table",
    "relative_paths",
    "remove_file",
    "text_frame",
    "versions",
    "write_bytes",
    "write_json",
    "write_table",
    "write_text",
]
