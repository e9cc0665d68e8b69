#!/bin/sh
# Build an image of the Dockerfile with buildah, and run it as Kubernetes would: uid 65532, no capabilities, the root file
# system read-only, /tmp a tmpfs, a network of its own. Needs root, buildah and, for the base, mmdebstrap (Debian's packages).
#
#   docker/check.sh cpu        # or train, cuda, proxy
#
# The base is a stand-in made of Debian's own packages (bookworm, Python 3.11), since nothing is pulled. BASE names another.
set -eu

target=${1:-cpu}
store=${STORE:-/tmp/rankd-images}
base=${BASE:-localhost/python-stand-in}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$store"

images() { command buildah --root "$store/root" --runroot "$store/run" "$@"; }

stand_in() {
    echo "making $base ..."
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$store/base.tar"
    container=$(images from scratch)
    images add --quiet "$container" "$store/base.tar" /
    images config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    images commit --quiet --rm "$container" "$base"
    rm "$store/base.tar"
}

build() {
    # How pip finds packages here, if it is told, and whom it trusts.
    set --
    for path in /etc/pip.conf /etc/ssl/certs ${WHEELS:-}; do
        if [ -e "$path" ]; then set -- "$@" --volume "$path:$path:ro"; fi
    done
    images build --isolation chroot --network host --pull-never --format oci --build-arg "PYTHON_BASE=$base" "$@" \
        ${TORCH:+--build-arg "TORCH=$TORCH"} --target "$target" --tag "rankd:$target" --file "$here/Dockerfile" "$here"
}

# Run a command in the image's file system; as in a pod, but for the container runtime.
run() {
    unshare --mount --net --pid --fork sh -eu -c '
        root=$1
        shift
        ip link set lo up 2> /dev/null || python3 -c "import fcntl, socket, struct
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack(\"16sh\", b\"lo\", 0x41))"
        mount --bind "$root" "$root"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        mount -o remount,bind,ro "$root"
        exec chroot "$root" setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set=-all \
            --inh-caps=-all env -i PATH=/opt/rankd/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 "$@"
    ' sh "$root" "$@"
}

if ! images inspect "$base" > /dev/null 2>&1; then stand_in; fi
[ -n "${SKIP_BUILD:-}" ] || build
container=$(images from --pull-never "rankd:$target")
root=$(images mount "$container")
trap 'images umount "$container" > /dev/null; images rm "$container" > /dev/null' EXIT

echo "size of /opt/rankd: $(du -sh "$root/opt/rankd" | cut -f1)"
for program in cc gcc g++ make pip; do
    if chroot "$root" /usr/bin/env PATH=/opt/rankd/bin:/usr/local/bin:/usr/bin:/bin sh -c "command -v $program" > /dev/null; then
        echo "the image has $program" >&2
        exit 1
    fi
done
cp "$here/docker/inside.sh" "$here/charts/rankd/files/ranks.sh" "$here/charts/rankd/files/prompts.txt" "$root/mnt/"
run sh /mnt/inside.sh "$target"
echo "rankd:$target was built and ran"
