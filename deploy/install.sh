#!/bin/sh
# Installs wayfare-engine as a service, or upgrades it, or takes it away. Can be run again at any time.
#
#   install.sh --binary FILE [--broker URL] [--id NAME] [--trust KEY]... [--root DIR]
#   install.sh --uninstall [--purge] [--root DIR]
#
# What is there of the configuration (/etc/wayfare/engine.env) stays, but for what is given here. --uninstall leaves
# configuration and programs; --purge takes those away too. --root installs into a folder, for images and packages: then no user
# is made and nothing is started.
set -eu

root= binary= broker= id= trust= action=install purge=no
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "install.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) action=uninstall; shift; continue ;;
    --purge) purge=yes; shift; continue ;;
    --help | -h) usage ;;
    esac
    [ $# -ge 2 ] || usage
    case $1 in
    --binary) binary=$2 ;;
    --broker) broker=$2 ;;
    --id) id=$2 ;;
    --trust) trust="$trust --trust $2" ;;
    --root) root=$2 ;;
    *) usage ;;
    esac
    shift 2
done

bin=$root/usr/bin/wayfare-engine
unit=$root/lib/systemd/system/wayfare-engine.service
env=$root/etc/wayfare/engine.env
data=$root/var/lib/wayfare
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0 ..."

if [ "$action" = uninstall ]; then
    if live; then systemctl disable --now wayfare-engine.service 2>/dev/null || true; fi
    rm -f "$bin" "$unit"
    if live; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf "$root/etc/wayfare" "$data"
        if [ -z "$root" ] && getent passwd wayfare >/dev/null; then userdel wayfare; fi
        echo "wayfare-engine is gone, with its configuration and programs"
    else
        echo "wayfare-engine is gone; its configuration is in $env, its programs in $data"
    fi
    exit 0
fi

[ -n "$binary" ] || usage
[ -f "$binary" ] || fail "$binary is no file"
# A binary for another processor is noticed here, not at the next start.
[ -n "$root" ] || "$binary" --version >/dev/null || fail "$binary does not run on this machine"
if [ -n "$broker$id$trust" ]; then
    # They become words of a command line and of a line for sed.
    case "$broker$id$trust" in *[!A-Za-z0-9.:/@%_\ -]*) fail "strange characters in the broker's address, name or key" ;; esac
fi

if [ -z "$root" ] && ! getent passwd wayfare >/dev/null; then
    useradd --system --home-dir /var/lib/wayfare --shell /usr/sbin/nologin --user-group wayfare
fi
install -d -m 0755 "$root/usr/bin" "$root/lib/systemd/system"
install -d -m 0750 "$root/etc/wayfare"
install -d -m 0700 "$data"
# Under another name first: a binary that runs cannot be written, and a power cut leaves the old one or the new one.
install -m 0755 "$binary" "$bin.new"
sync "$bin.new"
mv "$bin.new" "$bin"
install -m 0644 "$here/systemd/wayfare-engine.service" "$unit"
[ -f "$env" ] || install -m 0640 "$here/systemd/engine.env" "$env"
set_line() { sed -i "s|^$1=.*|$1=$2|" "$env"; }
if [ -n "$broker" ]; then set_line WAYFARE_BROKER "$broker"; fi
if [ -n "$id$trust" ]; then set_line WAYFARE_OPTIONS "${id:+--id $id}$trust"; fi
chmod 0640 "$env"

if [ -z "$root" ]; then
    chown root:wayfare "$root/etc/wayfare" "$env"
    chown wayfare:wayfare "$data"
fi
if live; then
    systemctl daemon-reload
    systemctl enable wayfare-engine.service
    systemctl restart wayfare-engine.service
    echo "wayfare-engine runs: 'systemctl status wayfare-engine', 'journalctl -u wayfare-engine'"
else
    echo "wayfare-engine is installed; configuration: $env"
fi
