"""Readers of the layouts in which face databases are distributed; none is shipped or downloaded."""

from affect3d.gan.data.readers.films import list_ckplus, list_mmi, list_oulu_casia
from affect3d.gan.data.readers.plain import list_folders
from affect3d.gan.data.readers.stills import list_jaffe, list_multipie, list_rafd, read_tfd
from affect3d.gan.data.readers.wild import list_affwild, list_afew_va, list_disfa, list_lfw

__all__ = [
    "LISTERS", "list_affwild", "list_afew_va", "list_ckplus", "list_disfa", "list_folders", "list_jaffe", "list_lfw",
    "list_mmi", "list_multipie", "list_oulu_casia", "list_rafd", "read_tfd",
]  # fmt: skip

#: Function that lists a database, by its name.  TFD is one file of ready crops: `read_tfd`.
LISTERS = {
    "ck+": list_ckplus, "oulu-casia": list_oulu_casia, "mmi": list_mmi, "rafd": list_rafd, "disfa": list_disfa,
    "multi-pie": list_multipie, "lfw": list_lfw, "jaffe": list_jaffe, "afew-va": list_afew_va,
    "aff-wild": list_affwild, "folders": list_folders,
}  # fmt: skip
