#!/bin/sh
# Installs wayfare-engine as a service, or upgrades it, or takes it away. Can be run again at any time.
#
#   install.sh --binary FILE [--broker URL] [--broker-ca FILE] [--broker-login FILE] [--id NAME] [--trust KEY]... [--devices] [--root DIR]
#   install.sh --devices [--root DIR]
#   install.sh --uninstall [--purge] [--root DIR]
#
# What is there of the configuration (/etc/wayfare/engine.toml) stays, but for what is given here. The files with the broker's
# certificate authority and with 'user:password' are copied beside it. --devices lets the service use devices that its configuration
# names: it is shut off from all of them else. --uninstall leaves configuration and programs; --purge
# takes those away too. --root installs into a folder, for images and packages: then no user is made and nothing is started.
set -eu

root= binary= broker= ca= login= id= trust= action=install purge=no devices=no
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "install.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) action=uninstall; shift; continue ;;
    --purge) purge=yes; shift; continue ;;
    --devices) devices=yes; shift; continue ;;
    --help | -h) usage ;;
    esac
    [ $# -ge 2 ] || usage
    case $1 in
    --binary) binary=$2 ;;
    --broker) broker=$2 ;;
    --broker-ca) ca=$2 ;;
    --broker-login) login=$2 ;;
    --id) id=$2 ;;
    --trust) trust="$trust${trust:+, }\"$2\"" ;;
    --root) root=$2 ;;
    *) usage ;;
    esac
    shift 2
done

bin=$root/usr/bin/wayfare-engine
unit=$root/lib/systemd/system/wayfare-engine.service
folder=$root/etc/wayfare
configuration=$folder/engine.toml
data=$root/var/lib/wayfare
dropin=$root/etc/systemd/system/wayfare-engine.service.d/devices.conf
rules=$root/etc/udev/rules.d/60-wayfare-devices.rules
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0 ..."

if [ "$action" = uninstall ]; then
    if live; then systemctl disable --now wayfare-engine.service 2>/dev/null || true; fi
    rm -f "$bin" "$unit" "$dropin" "$rules"
    # Somebody may have put more there.
    rmdir "$(dirname "$dropin")" 2>/dev/null || true
    if live; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf "$folder" "$data"
        if [ -z "$root" ] && getent passwd wayfare >/dev/null; then userdel wayfare; fi
        echo "wayfare-engine is gone, with its configuration and programs"
    else
        echo "wayfare-engine is gone; its configuration is in $configuration, its programs in $data"
    fi
    exit 0
fi

if [ -z "$binary" ] && [ "$devices" = yes ] && [ -f "$bin" ]; then binary=$bin; fi
[ -n "$binary" ] || usage
[ -f "$binary" ] || fail "$binary is not a file"
# A binary for another processor is noticed here, not at the next start.
[ -n "$root" ] || "$binary" --version >/dev/null || fail "$binary does not run on this machine"
for file in "$ca" "$login"; do
    [ -z "$file" ] || [ -f "$file" ] || fail "$file is not a file"
done
# They become text in a file of settings and in a line for sed.
case "$broker$id" in *[!A-Za-z0-9.:/@%_-]*) fail "strange characters in the broker's address or the name" ;; esac
case "$trust" in *[!0-9a-f\",\ ]*) fail "a key is 64 hexadecimal digits, as 'wayfare key show' prints it" ;; esac

if [ -z "$root" ] && ! getent passwd wayfare >/dev/null; then
    useradd --system --home-dir /var/lib/wayfare --shell /usr/sbin/nologin --user-group wayfare
fi
install -d -m 0755 "$root/usr/bin" "$root/lib/systemd/system"
install -d -m 0750 "$folder"
install -d -m 0700 "$data"
if [ "$binary" != "$bin" ]; then
    # Under another name first: a binary that runs cannot be written, and a power cut leaves the old one or the new one.
    install -m 0755 "$binary" "$bin.new"
    sync "$bin.new"
    mv "$bin.new" "$bin"
fi
install -m 0644 "$here/systemd/wayfare-engine.service" "$unit"
# In place of the key's line, else of the one that is commented out, else before everything.
set_key() {
    if grep -q "^$1 = " "$configuration"; then
        sed -i "0,\|^$1 = .*|s||$1 = $2|" "$configuration"
    elif grep -q "^#$1 = " "$configuration"; then
        sed -i "0,\|^#$1 = .*|s||$1 = $2|" "$configuration"
    else
        sed -i "1i$1 = $2" "$configuration"
    fi
}
if [ ! -f "$configuration" ]; then
    install -m 0640 "$here/engine.toml" "$configuration"
    set_key data '"/var/lib/wayfare/engine"'
fi
if [ -n "$ca" ]; then
    install -m 0644 "$ca" "$folder/broker-ca.pem"
    set_key broker-ca '"/etc/wayfare/broker-ca.pem"'
fi
if [ -n "$login" ]; then
    install -m 0640 "$login" "$folder/broker-login"
    set_key broker-login '"/etc/wayfare/broker-login"'
fi
if [ -n "$broker" ]; then set_key broker "\"$broker\""; fi
if [ -n "$id" ]; then set_key id "\"$id\""; fi
if [ -n "$trust" ]; then set_key trust "[$trust]"; fi
chmod 0640 "$configuration"

if [ "$devices" = yes ]; then
    install -D -m 0644 "$here/systemd/devices.conf" "$dropin"
    install -D -m 0644 "$here/systemd/devices.rules" "$rules"
    if [ -z "$root" ]; then
        for group in gpio i2c spi dialout; do
            getent group "$group" >/dev/null || groupadd --system "$group"
            usermod -aG "$group" wayfare
        done
    fi
    if live; then
        udevadm control --reload
        udevadm trigger --settle --action=change --subsystem-match=gpio --subsystem-match=i2c-dev --subsystem-match=spidev
    fi
fi

if [ -z "$root" ]; then
    chown root:wayfare "$folder" "$folder"/*
    chown wayfare:wayfare "$data"
fi
if live; then
    systemctl daemon-reload
    systemctl enable wayfare-engine.service
    systemctl restart wayfare-engine.service
    echo "wayfare-engine runs: 'systemctl status wayfare-engine', 'journalctl -u wayfare-engine'"
else
    echo "wayfare-engine is installed; configuration: $configuration"
fi
