# Installs what is missing from Debian's packages, and keeps their services from running.
# shellcheck shell=bash

declare -A PACKAGE_OF=(
    [nginx]=nginx-light
    [chromium]=chromium
    [redis-server]=redis-server
    [nft]=nftables
    [wrk]=wrk
    [gcc]='gcc libc6-dev'
)
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
        nginx | redis-server) services+=("$command") ;;
        esac
    done
    find_python >/dev/null || missing+=(python3-venv python3-dev)
    remember_services "${services[@]}"
    if [ ${#missing[@]} -gt 0 ]; then fetch_packages "${missing[@]}"; fi
    disable_remembered_services
}

fetch_packages() {
    command -v apt-get >/dev/null || die "set-up: this machine has no apt-get. Install by hand what these Debian packages hold: $*"
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        [ -t 0 ] && command -v sudo >/dev/null ||
            die "set-up: these Debian packages are missing, and installing them needs root:" "    apt-get install $*"
        sudo true
    fi
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
    trap allow_service_starts EXIT
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
    mkdir -p $LOGS
    printf '%s\n' "$@" >>$LOGS/services-to-disable
}

disable_remembered_services() {
    local service
    if ! [ -f $LOGS/services-to-disable ]; then return; fi
    for service in $(sort -u $LOGS/services-to-disable); do
        command -v "$service" >/dev/null || continue
        if [ -d /run/systemd/system ]; then as_root systemctl --quiet stop "$service"; fi
        as_root update-rc.d "$service" disable >>$LOGS/services.log 2>&1
        echo "set-up: the service $service, which came with the package, is disabled"
    done
    rm $LOGS/services-to-disable
}
