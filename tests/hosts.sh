#!/usr/bin/env bash
# Run the plug-ins for GIMP 3 and Krita in the programs themselves, Debian 13's, as clients of a real studio.
# As root, with debootstrap installed, after `make setup`: tests/hosts.sh [FOLDER]   (about 2 GB, kept for the next run)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
root=${1:-/var/tmp/impasto-hosts}
python=${PYTHON:-$here/.venv/bin/python}
port=7899

if [ ! -e "$root/.ready" ]; then
  debootstrap --variant=minbase trixie "$root"
  cp /etc/resolv.conf "$root/etc/"
  DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y --no-install-recommends \
    dbus gimp krita python3-pyqt5 xvfb
  touch "$root/.ready"
fi

mkdir -p "$root/code"
work=$(mktemp -d)
end() {
  kill $studio $screen 2>/dev/null || true
  wait
  umount --lazy "$root/code" "$root/dev" "$root/proc"  # GIMP leaves a process behind
  rm -rf "$work"
}
screen= studio=
trap end EXIT
PYTHONPATH=$here/src HOME=$work "$python" -m impasto serve --save-to none --port $port &
studio=$!
mount --bind "$here" "$root/code"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
inside() {
  chroot "$root" env HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 IMPASTO_STUDIO=http://127.0.0.1:$port \
    IMPASTO_SAMPLES=/code/src/impasto/samples timeout 600 "$@"
}

# as their READMEs say
gimp=$root/root/.config/GIMP/3.0/plug-ins/impasto_studio
krita=$root/root/.local/share/krita/pykrita
mkdir -p "$gimp" "$krita/in_krita"
cp "$here/integrations/gimp/impasto_studio.py" "$gimp/"
cp -r "$here"/integrations/krita/impasto_studio* "$krita/"
# the checks are a plug-in of Krita too
cp "$here/tests/support/in_krita.py" "$krita/in_krita/__init__.py"
sed 's/impasto_studio/in_krita/; s/^Name=.*/Name=in_krita/' "$krita/impasto_studio.desktop" > "$krita/in_krita.desktop"
printf '[python]\nenable_impasto_studio=true\nenable_in_krita=true\n' > "$root/root/.config/kritarc"

until "$python" -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/healthz')" 2>/dev/null; do
  kill -0 $studio
  sleep 1
done
export IMPASTO_REPORT=/tmp/report.txt
rm -f "$root/tmp/report.txt"
inside gimp-console -i -d --batch-interpreter python-fu-eval \
  -b "exec(open('/code/tests/support/in_gimp.py').read())" --quit > "$root/tmp/gimp.log" 2>&1 || true
chroot "$root" Xvfb :97 -screen 0 1280x900x24 -nolisten unix &
screen=$!
sleep 3
DISPLAY=:97 inside dbus-run-session krita --nosplash > "$root/tmp/krita.log" 2>&1 || true
cat "$root/tmp/report.txt"
[ "$(grep -c 'all is as it should be' "$root/tmp/report.txt")" = 2 ]
