"""The real stores that the tests read, by name."""

from __future__ import annotations

ALL = [
    "docker-1.7.1-aufs",
    "docker-1.7.1-aufs-trees",
    "docker-1.7.1-overlay",
    "docker-1.7.1-vfs-trees",
    "docker-1.9.1-aufs",
    "docker-1.9.1-btrfs",
    "docker-1.9.1-devicemapper",
    "docker-1.9.1-overlay",
    "docker-1.9.1-overlay-odd",
    "docker-1.9.1-overlay-pulled",
]

STORES = {
    "docker-1.9.1-overlay": ("overlay", 3),
    "docker-1.9.1-overlay-pulled": ("overlay", 0),
    "docker-1.9.1-overlay-odd": ("overlay", 3),
    "docker-1.9.1-aufs": ("aufs", 3),
    "docker-1.9.1-btrfs": ("btrfs", 3),
    "docker-1.9.1-devicemapper": ("devicemapper", 3),
    "docker-1.7.1-overlay": ("overlay", 3),
    "docker-1.7.1-aufs": ("aufs", 3),
    "docker-1.7.1-vfs-trees": ("vfs", 3),
    "docker-1.7.1-aufs-trees": ("aufs", 3),
}
"""The driver of each, and the exit code of its migration."""
