#!/bin/sh
# Installs the command `wayfare` for everybody on this machine, with its man pages and completion, or upgrades it, or takes it away; with
# --dispatcher also the fleet's dispatcher as a service. Can be run again at any time.
#
#   install-command.sh --binary FILE [--dispatcher [--broker URL] [--broker-ca FILE] [--broker-login FILE]] [--root DIR]
#   install-command.sh --uninstall [--purge] [--root DIR]
#
# What is there of the dispatcher's settings (/etc/wayfare/dispatcher.env) stays, but for what is given here. --uninstall leaves settings
# and what the dispatcher keeps; --purge takes those away too. --root installs into a folder, for images and packages: then no user is
# made and nothing is started. The pages are made by the binary, so it has to run on this machine.
set -eu

root= binary= broker= ca= login= action=install purge=no dispatcher=no
here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "install-command.sh: $*" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) action=uninstall; shift; continue ;;
    --purge) purge=yes; shift; continue ;;
    --dispatcher) dispatcher=yes; shift; continue ;;
    --help | -h) usage ;;
    esac
    [ $# -ge 2 ] || usage
    case $1 in
    --binary) binary=$2 ;;
    --broker) broker=$2 ;;
    --broker-ca) ca=$2 ;;
    --broker-login) login=$2 ;;
    --root) root=$2 ;;
    *) usage ;;
    esac
    shift 2
done

bin=$root/usr/bin/wayfare
pages=$root/usr/share/man/man1
bash=$root/usr/share/bash-completion/completions/wayfare
zsh=$root/usr/share/zsh/vendor-completions/_wayfare
fish=$root/usr/share/fish/vendor_completions.d/wayfare.fish
unit=$root/lib/systemd/system/wayfare-dispatcher.service
folder=$root/etc/wayfare
settings=$folder/dispatcher.env
data=$root/var/lib/wayfare-dispatcher
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: sudo $0 ..."
# Of the release before there may be pages of verbs that are no more; an engine's package has none.
remove_pages() { rm -f "$pages"/wayfare.1 "$pages"/wayfare-*.1; }

if [ "$action" = uninstall ]; then
    if live && [ -f "$unit" ]; then systemctl disable --now wayfare-dispatcher.service 2>/dev/null || true; fi
    remove_pages
    rm -f "$bin" "$bash" "$zsh" "$fish" "$unit"
    if live; then systemctl daemon-reload; fi
    if [ "$purge" = yes ]; then
        rm -rf "$settings" "$folder/dispatcher-ca.pem" "$folder/dispatcher-login" "$data"
        # An engine's configuration may be there.
        rmdir "$folder" 2>/dev/null || true
        if [ -z "$root" ] && getent passwd wayfare-dispatcher >/dev/null; then userdel wayfare-dispatcher; fi
        echo "wayfare is gone, with all that its dispatcher kept"
    else
        echo "wayfare is gone; what its dispatcher kept is in $data, its settings in $settings"
    fi
    exit 0
fi

[ -n "$binary" ] || usage
[ -f "$binary" ] || fail "$binary is not a file"
"$binary" --version >/dev/null || fail "$binary does not run on this machine"
if [ "$dispatcher" = no ]; then
    [ -z "$broker$ca$login" ] || fail "the broker is the dispatcher's: give --dispatcher too, or use 'wayfare context add'"
fi
for file in "$ca" "$login"; do
    [ -z "$file" ] || [ -f "$file" ] || fail "$file is not a file"
done
# It becomes a line of a file of settings.
case "$broker" in *[!A-Za-z0-9.:/@%_-]*) fail "strange characters in the broker's address" ;; esac

install -d -m 0755 "$root/usr/bin" "$pages" "$(dirname "$bash")" "$(dirname "$zsh")" "$(dirname "$fish")"
if [ "$binary" != "$bin" ]; then
    # Under another name first: a binary that runs cannot be written, and a power cut leaves the old one or the new one.
    install -m 0755 "$binary" "$bin.new"
    sync "$bin.new"
    mv "$bin.new" "$bin"
fi
remove_pages
"$bin" man "$pages" >/dev/null
"$bin" completion bash >"$bash"
"$bin" completion zsh >"$zsh"
"$bin" completion fish >"$fish"
chmod 0644 "$pages"/wayfare*.1 "$bash" "$zsh" "$fish"
if [ "$dispatcher" = no ]; then
    echo "wayfare is installed: 'man wayfare'"
    exit 0
fi

if [ -z "$root" ] && ! getent passwd wayfare-dispatcher >/dev/null; then
    useradd --system --home-dir /var/lib/wayfare-dispatcher --shell /usr/sbin/nologin --user-group wayfare-dispatcher
fi
install -d -m 0755 "$folder" "$root/lib/systemd/system"
install -d -m 0700 "$data"
install -m 0644 "$here/systemd/wayfare-dispatcher.service" "$unit"
set_key() {
    if [ -f "$settings" ] && grep -q "^$1=" "$settings"; then
        sed -i "s|^$1=.*|$1=$2|" "$settings"
    else
        echo "$1=$2" >>"$settings"
    fi
}
[ -f "$settings" ] || cat >"$settings" <<END
# The dispatcher's settings, as 'wayfare dispatcher --help' names them.
WAYFARE_DISPATCHER_OPTIONS=
END
if [ -n "$ca" ]; then
    install -m 0644 "$ca" "$folder/dispatcher-ca.pem"
    set_key WAYFARE_BROKER_CA /etc/wayfare/dispatcher-ca.pem
fi
if [ -n "$login" ]; then
    install -m 0640 "$login" "$folder/dispatcher-login"
    set_key WAYFARE_BROKER_LOGIN /etc/wayfare/dispatcher-login
fi
if [ -n "$broker" ]; then set_key WAYFARE_BROKER "$broker"; fi
if [ -z "$root" ]; then
    chown root:wayfare-dispatcher "$settings"
    [ ! -f "$folder/dispatcher-login" ] || chown root:wayfare-dispatcher "$folder/dispatcher-login"
    chown wayfare-dispatcher:wayfare-dispatcher "$data"
fi
chmod 0640 "$settings"
if live; then
    systemctl daemon-reload
    systemctl enable wayfare-dispatcher.service
    systemctl restart wayfare-dispatcher.service
    echo "the dispatcher runs: 'systemctl status wayfare-dispatcher', 'journalctl -u wayfare-dispatcher'"
else
    echo "wayfare and its dispatcher are installed; settings: $settings"
fi
