# Installs what is missing from Debian's packages, and keeps their services from running.
# shellcheck shell=bash

declare -A PACKAGE_OF=(
    [nginx]=nginx-light
    [chromium]=chromium
    [redis-server]=redis-server
    [nft]=nftables
    [wrk]=wrk
    [ip]=iproute2
    [ipset]=ipset
    [ufw]=ufw
    [haproxy]=haproxy
    [caddy]=caddy
    [conntrack]=conntrack
    [strace]=strace
    [systemd-analyze]=systemd
    [sshd]=openssh-server
    [ssh]=openssh-client
    [wg]=wireguard-tools
    [wireguard-go]=wireguard-go
    [curl]=curl
    [promtool]=prometheus
    [faketime]=faketime
    [mmdebstrap]=mmdebstrap
    [pebble]=pebble
    [systemd-nspawn]=systemd-container
    [gcc]='gcc libc6-dev'
)
SERVICES=$LOGS/services-to-disable
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# written by authd's set-up, which removes it again"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_debian_packages() {
    local command packages missing=() services=()
    for command in "$@"; do
        command -v "$command" >/dev/null && continue
        read -ra packages <<<"${PACKAGE_OF[$command]}"
        missing+=("${packages[@]}")
        case $command in
        nginx | redis-server | haproxy | caddy) services+=("$command") ;;
        sshd) services+=(ssh) ;;
        promtool) services+=(prometheus) ;;
        esac
    done
    find_python >/dev/null || missing+=(python3-venv python3-dev)
    if [ ${#missing[@]} -gt 0 ]; then
        require_root "${missing[@]}"
        remember_services "${services[@]}"
        fetch_packages "${missing[@]}"
    fi
    disable_remembered_services
}

require_root() {
    command -v apt-get >/dev/null || die "set-up: this machine has no apt-get. Install by hand what these Debian packages hold: $*"
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then return; fi
    if ! { [ -t 0 ] && command -v sudo >/dev/null; }; then
        die "set-up: these Debian packages are missing, and installing them needs root:" "    apt-get install $*"
    fi
    sudo true
}

fetch_packages() {
    forbid_service_starts
    step apt-update "list of Debian's packages" as_root apt-get update
    step apt-install "Debian packages: $*" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"
    allow_service_starts
}

# A package's service would start on port 80 the moment it is unpacked. policy-rc.d is Debian's own
# way to say no; a machine that has one already (containers do) keeps it.
forbid_service_starts() {
    if [ -e $POLICY ] && ! grep -qF "$POLICY_MARK" $POLICY; then return; fi
    trap 'allow_service_starts; forget_absent_services' EXIT
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" | as_root tee $POLICY >/dev/null
    as_root chmod 755 $POLICY
}

allow_service_starts() {
    if grep -qsF "$POLICY_MARK" $POLICY; then as_root rm -f $POLICY; fi
    trap - EXIT
}

# Written down before the installation, so that a run which is killed in the middle leaves the next
# one knowing that the service is not the machine's own.
remember_services() {
    if [ $# -eq 0 ]; then return; fi
    mkdir -p "$LOGS"
    printf '%s\n' "$@" >>"$SERVICES"
}

# An installation that failed leaves nothing of ours; what its owner installs later is theirs.
forget_absent_services() {
    local service
    if ! [ -f "$SERVICES" ]; then return; fi
    while read -r service; do
        if command -v "${service/#ssh/sshd}" >/dev/null; then echo "$service"; fi
    done <"$SERVICES" >"$SERVICES.kept"
    mv "$SERVICES.kept" "$SERVICES"
}

# Caddy brings a unit for systemd and no script for init; without systemd nothing would start it.
disable_service() {
    if [ -e "/etc/init.d/$1" ]; then
        as_root update-rc.d "$1" disable
    elif command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable "$1"
    fi
}

disable_remembered_services() {
    local service
    if ! [ -f "$SERVICES" ]; then return; fi
    while read -r service; do
        if [ -d /run/systemd/system ]; then as_root systemctl --quiet stop "$service"; fi
        step "disable-$service" "service $service, which came with the package, disabled" \
            disable_service "$service"
    done < <(sort -u "$SERVICES")
    rm "$SERVICES"
}
