"""Read tables and write files."""

from bonaface.io.files import LOCK as LOCK
from bonaface.io.files import check_free as check_free
from bonaface.io.files import fresh_folder as fresh_folder
from bonaface.io.files import json_safe as json_safe
from bonaface.io.files import locked_folder as locked_folder
from bonaface.io.files import new_file as new_file
from bonaface.io.files import new_folder as new_folder
from bonaface.io.files import now as now
from bonaface.io.files import read_json as read_json
from bonaface.io.files import versions as versions
from bonaface.io.files import write_bytes as write_bytes
from bonaface.io.files import write_json as write_json
from bonaface.io.files import write_text as write_text
from bonaface.io.tables import TABLE_SUFFIXES as TABLE_SUFFIXES
from bonaface.io.tables import TextTable as TextTable
from bonaface.io.tables import as_text as as_text
from bonaface.io.tables import decimal_comma as decimal_comma
from bonaface.io.tables import is_utf8 as is_utf8
from bonaface.io.tables import read_table as read_table
from bonaface.io.tables import relative_paths as relative_paths
from bonaface.io.tables import text_frame as text_frame
from bonaface.io.tables import write_table as write_table
