#!/bin/sh
# dlbox collect: pack what this computer says about its NVIDIA card into one archive, without names and addresses.
#
# Usage: sh collect.sh [-o FILE] [--yes]
# FILE: the archive to write [default: dlbox-collect.tar.gz]; "-" is stdout. --yes: do not ask before writing.
# Needs sh, awk, sed, gzip and no root. Runs with dash, bash, busybox. Nothing is sent anywhere.
# Judge the archive on another computer with: dlbox check --from dlbox-collect.tar.gz

set -u
LC_ALL=C
export LC_ALL
umask 077
R=${DLBOX_COLLECT_ROOT:-} # another root folder, for tests
OUT=dlbox-collect.tar.gz
YES=

fail() { # code, message
    echo "dlbox collect: $2" >&2
    exit "$1"
}
say() { echo "$*" >&2; }

while [ $# -gt 0 ]; do
    case $1 in
    -o | --output)
        [ $# -ge 2 ] || fail 2 "$1 needs a file name"
        OUT=$2
        shift
        ;;
    --yes) YES=1 ;;
    -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) fail 2 "unknown argument $1: see --help" ;;
    esac
    shift
done

[ -n "$OUT" ] || fail 2 "-o is empty"
if [ "$OUT" != - ]; then
    [ ! -d "$OUT" ] || fail 2 "$OUT is a folder: pass the name of a file"
    [ ! -e "$OUT" ] || fail 2 "$OUT exists: remove it, or pass another name with -o"
fi
[ -n "$YES" ] || [ -t 0 ] || fail 2 "stdin is not a terminal: pass --yes"
for tool in awk sed gzip tr wc; do
    command -v "$tool" >/dev/null 2>&1 || fail 1 "the program $tool is missing"
done

W=$(mktemp -d "${TMPDIR:-/tmp}/dlbox-collect.XXXXXX") || fail 1 "no temporary folder can be made"
trap 'rm -rf "$W"' EXIT
trap 'exit 130' INT TERM HUP
RAW=$W/raw     # as read
CLEAN=$W/clean # as written to the archive
mkdir -p "$RAW/root" "$RAW/out" "$CLEAN"
LIST=$RAW/files.txt
UNREAD=$W/unread
echo '# dlbox collect 1' >"$LIST"
: >"$UNREAD"

note() { echo "$1" >>"$LIST"; }
unread() { echo "  $1" >>"$UNREAD"; }
store() { # stdin becomes the file $1 of the archive's root
    mkdir -p "$RAW/root/${1%/*}" && cat >"$RAW/root/$1"
}
copy() { # copy a small file of the computer; a missing one is no fault
    [ -e "$R/$1" ] || return 1
    if head -c 262144 "$R/$1" >"$W/one" 2>/dev/null; then
        store "$1" <"$W/one"
    else
        unread "/$1: permission denied"
        return 1
    fi
}
matching() { # path, pattern: the lines of a file that match
    [ -f "$R/$1" ] || return 1
    if [ -r "$R/$1" ]; then
        grep -E -i "$2" "$R/$1" 2>/dev/null | head -n 200 | store "$1"
    else
        unread "/$1: permission denied"
    fi
}
limited() { # run a program for at most 30 seconds
    if command -v timeout >/dev/null 2>&1; then timeout 30 "$@"; else "$@"; fi
}

# --- the computer ---------------------------------------------------------------------------------------------------
matching etc/os-release '^(ID|ID_LIKE|NAME|VERSION_ID|VERSION_CODENAME|PRETTY_NAME)=' ||
    matching usr/lib/os-release '^(ID|ID_LIKE|NAME|VERSION_ID|VERSION_CODENAME|PRETTY_NAME)='
copy proc/version
copy proc/loadavg
{ cat "$R/proc/sys/kernel/osrelease" 2>/dev/null || uname -r; } | head -n 1 | store proc/sys/kernel/osrelease
uname -m >"$RAW/out/machine.txt"
matching proc/meminfo '^(MemTotal|MemAvailable|SwapTotal):'
matching proc/cpuinfo '^(processor|model name|cpu cores|flags|vendor_id|Features)[[:space:]]*:'
copy sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
copy sys/devices/system/cpu/cpu0/cpufreq/scaling_driver
copy sys/class/dmi/id/chassis_type
copy sys/class/dmi/id/sys_vendor
copy sys/hypervisor/type
copy run/systemd/container
copy proc/xen/capabilities
copy sys/devices/platform/asus-nb-wmi/dgpu_disable
copy etc/prime-discrete
matching sys/class/dmi/id/product_name 'QEMU|KVM|VMware|innotek|VirtualBox|Xen|Parallels|OpenStack|Bochs|Nutanix|oVirt|Virtual Machine|Standard PC|HVM|Compute Engine'
for file in .dockerenv run/.containerenv run/host/container-manager run/secrets/kubernetes.io var/run/secrets/kubernetes.io \
    dev/lxd/sock dev/incus/sock .singularity.d .flatpak-info run/WSL dev/dxg proc/sys/fs/binfmt_misc/WSLInterop \
    proc/sys/fs/binfmt_misc/WSLInterop-late; do [ ! -e "$R/$file" ] || note "F $file"; done
[ ! -d "$R/sys/kernel/iommu_groups" ] || note "D sys/kernel/iommu_groups"
[ ! -e "$R/sys/kernel/iommu_groups/0" ] || note "D sys/kernel/iommu_groups/0"
if [ -d "$R/sys/firmware/efi" ]; then
    note "D sys/firmware/efi/efivars"
    for file in "$R"/sys/firmware/efi/efivars/SecureBoot-*; do
        [ -e "$file" ] || continue
        if [ -r "$file" ]; then
            od -An -v -tx1 "$file" | head -n 1 | store "sys/firmware/efi/efivars/SecureBoot-8be4df61.hex"
        else
            unread "Secure Boot: permission denied"
        fi
    done
fi
if [ -r "$R/proc/1/cgroup" ]; then
    grep -E -o 'docker|kubepods|libpod|lxc|containerd|crio' "$R/proc/1/cgroup" 2>/dev/null | head -n 1 | store proc/1/cgroup
fi
if [ -r "$R/proc/1/environ" ]; then
    { tr '\000' '\n' <"$R/proc/1/environ"; } 2>/dev/null | grep -E '^container=[a-z0-9-]*$' | head -n 1 | store proc/1/environ
fi
if [ -r "$R/proc/cmdline" ]; then { printf 'Command line: '; cat "$R/proc/cmdline"; } | store proc/cmdline; fi
df -Pk "${HOME:-/}" 2>/dev/null | awk 'END { if (NF >= 6) print "fs", $2, $3, $4, $5 }' >"$RAW/out/df.txt"
env | grep -E '^(CUDA_(VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|CACHE_DISABLE|FORCE_PTX_JIT|DISABLE_PTX_JIT|INJECTION64_PATH)|NVIDIA_(TF32_OVERRIDE|VISIBLE_DEVICES)|LD_LIBRARY_PATH|LD_PRELOAD|XLA_FLAGS|TF_XLA_FLAGS|JAX_PLATFORMS|TF_FORCE_GPU_ALLOW_GROWTH)=' >"$RAW/out/environment.txt"

# --- the PCI bus ----------------------------------------------------------------------------------------------------
attributes='vendor device class subsystem_vendor subsystem_device current_link_speed current_link_width max_link_speed
max_link_width aer_dev_fatal aer_dev_nonfatal aer_dev_correctable resource power/runtime_status power/control'
if [ -d "$R/sys/bus/pci/devices" ]; then
    note "D sys/bus/pci/devices"
    for device in "$R"/sys/bus/pci/devices/*; do
        [ "$(cat "$device/vendor" 2>/dev/null)" = 0x10de ] || continue
        folder=${device#"$R/"}
        if [ -h "$device" ]; then note "LD $folder -> $(readlink "$device")"; fi
        for name in $attributes; do copy "$folder/$name"; done
        if [ -h "$device/driver" ]; then
            link=$(readlink "$device/driver")
            echo "${link##*/}" | store "$folder/driver"
        else
            copy "$folder/driver"
        fi
        [ -h "$device" ] || continue
        bridge=$(cd -P "$device/.." 2>/dev/null && pwd -P)
        top=$(cd -P "${R:-/}" 2>/dev/null && pwd -P)
        case $bridge in
        "${top%/}"/sys/*)
            for name in max_link_speed max_link_width; do copy "${bridge#"${top%/}/"}/$name"; done
            ;;
        esac
    done
else
    unread "/sys/bus/pci: the list of PCI devices is not visible here"
fi

# --- the driver -----------------------------------------------------------------------------------------------------
copy proc/modules
copy proc/driver/nvidia/version
for node in "$R"/dev/nvidia*; do
    case ${node##*/} in
    nvidia[0-9]* | nvidiactl | nvidia-uvm)
        [ -e "$node" ] || continue
        if [ -r "$node" ] && [ -w "$node" ]; then note "C dev/${node##*/} rw"; else note "C dev/${node##*/} --"; fi
        ;;
    esac
done
for folder in usr/lib/x86_64-linux-gnu usr/lib64 usr/lib usr/lib/aarch64-linux-gnu usr/lib/wsl/lib \
    usr/lib/x86_64-linux-gnu/nvidia/current; do
    link=$R/$folder/libnvidia-ml.so.1
    [ -e "$link" ] || continue
    full=$(readlink -f "$link")
    note "L $folder/libnvidia-ml.so.1 -> ${full##*/}"
done
for file in "$R"/lib/firmware/nvidia/*/gsp*.bin* "$R"/usr/lib/firmware/nvidia/*/gsp*.bin* \
    "$R"/lib/firmware/updates/nvidia/*/gsp*.bin*; do
    [ ! -e "$file" ] || note "F ${file#"$R/"}"
done
for file in usr/bin/nvidia-uninstall usr/bin/nvidia-installer var/log/nvidia-installer.log; do
    [ ! -e "$R/$file" ] || note "F $file"
done
module='(^|/)nvidia[a-z0-9-]*\.ko(\.[a-z0-9]+)?$'
for folder in "$R"/lib/modules/*; do
    [ -d "$folder" ] || continue
    kernel=${folder##*/}
    note "D lib/modules/$kernel"
    [ ! -e "$folder/build/Makefile" ] || note "F lib/modules/$kernel/build/Makefile"
    [ ! -e "$R/usr/src/linux-headers-$kernel/Makefile" ] || note "F usr/src/linux-headers-$kernel/Makefile"
    [ ! -e "$R/boot/vmlinuz-$kernel" ] || note "F boot/vmlinuz-$kernel"
    if [ -f "$folder/modules.dep" ]; then
        sed 's/:.*//' "$folder/modules.dep" | grep -E "$module" | sed 's/$/:/' | store "lib/modules/$kernel/modules.dep"
    fi
    for place in updates/dkms extra kernel/drivers/video updates kernel/drivers/char/drm; do
        for file in "$folder/$place"/nvidia*.ko*; do [ ! -e "$file" ] || note "F ${file#"$R/"}"; done
    done
done
if [ -d "$R/var/lib/dkms" ]; then
    note "D var/lib/dkms"
    for folder in "$R"/var/lib/dkms/nvidia*/*; do
        [ -d "$folder" ] && [ ! -h "$folder" ] || continue
        note "D ${folder#"$R/"}"
        for built in "$folder"/*/*/module; do [ ! -d "$built" ] || note "D ${built#"$R/"}"; done
        if [ -f "$folder/build/make.log" ]; then
            {
                head -n 3 "$folder/build/make.log"
                echo
                grep -E -i -A2 'error:|compiler differs|unrecognized command|bad exit status|not found|PREEMPT_RT sanity' "$folder/build/make.log"
            } 2>/dev/null | head -n 60 | store "${folder#"$R/"}/build/make.log"
        fi
    done
fi
if [ -r "$R/var/lib/dpkg/status" ]; then
    awk '
        /^Package: / { name = $2; state = ""; next }
        /^Status: / { state = $0; next }
        /^Version: / && name ~ /nvidia|cuda|^libcu|^linux-(image|headers|modules|generic)|^(pve|proxmox)-|nouveau|^dkms$|^bumblebee|-prime$/ {
            print "Package: " name "\n" state "\n" $0 "\n"
        }' "$R/var/lib/dpkg/status" | store var/lib/dpkg/status
elif [ -e "$R/var/lib/dpkg/status" ]; then
    unread "/var/lib/dpkg/status: permission denied"
fi
for folder in etc/modprobe.d usr/local/lib/modprobe.d usr/lib/modprobe.d lib/modprobe.d run/modprobe.d; do
    [ ! -d "$R/$folder" ] || note "D $folder"
    for file in "$R/$folder"/*.conf; do
        [ ! -f "$file" ] || matching "${file#"$R/"}" '^[^#]*(nouveau|nvidia|nova|vfio|10de)'
    done
done
for folder in etc/udev/rules.d usr/local/lib/udev/rules.d usr/lib/udev/rules.d lib/udev/rules.d run/udev/rules.d; do
    for file in "$R/$folder"/*.rules; do
        [ -f "$file" ] && grep -q -i -E 'nvidia|0x10de' "$file" 2>/dev/null || continue
        matching "${file#"$R/"}" '^[^#]*(nvidia|10de)'
    done
done
for file in "$R"/etc/apt/apt.conf.d/*; do
    [ -f "$file" ] && grep -q Unattended-Upgrade "$file" 2>/dev/null || continue
    matching "${file#"$R/"}" '^[[:space:]]*APT::Periodic::Unattended-Upgrade[[:space:]]'
done

# --- programs -------------------------------------------------------------------------------------------------------
if command -v nvidia-smi >/dev/null 2>&1; then
    limited nvidia-smi -q -x >"$RAW/out/nvidia-smi.xml" 2>"$W/error"
    cat "$W/error" >>"$RAW/out/nvidia-smi.xml"
    [ -s "$RAW/out/nvidia-smi.xml" ] || unread "nvidia-smi: no answer within 30 seconds"
else
    unread "nvidia-smi: not installed"
fi
relevant='NVRM|nvidia|nouveau|nova[-_]?(core|drm)|NovaCore|vfio-pci|Linux version|ommand line:|10de:|Loading of|Key was rejected|module verification|Lockdown|locked down|[Ss]ecure ?[Bb]oot|Hypervisor detected|pciehp|D3cold|BAR [0-9]+|AER:'
if [ -n "$R" ]; then
    for log in dev/kmsg var/log/kern.log var/log/messages var/log/syslog; do
        [ -r "$R/$log" ] || continue
        sed 's/^[0-9]*,[0-9]*,[^;]*;//' "$R/$log" >"$W/log"
        break
    done
else
    limited dmesg >"$W/log" 2>/dev/null || limited journalctl -k -b -o short-monotonic --no-hostname --no-pager -q \
        >"$W/log" 2>/dev/null || grep -a 'kernel:' /var/log/kern.log >"$W/log" 2>/dev/null || : >"$W/log"
fi
if [ -s "$W/log" ]; then
    echo "# kernel log" >"$RAW/out/dmesg.txt"
    grep -a -E "$relevant" "$W/log" | tail -n 20000 >>"$RAW/out/dmesg.txt"
else
    unread "the kernel log: closed to this user (root may read it: sudo dmesg)"
fi
if command -v apt-cache >/dev/null 2>&1; then
    limited apt-cache policy nvidia-driver nvidia-open cuda-drivers libcuda1 nvidia-kernel-dkms nvidia-open-kernel-dkms \
        2>/dev/null | head -n 200 >"$RAW/out/apt-cache-policy.txt"
fi

# --- names and addresses are replaced -------------------------------------------------------------------------------
# One line per word to replace: the word in lower case, a tab, the placeholder.
{
    for word in "$(uname -n 2>/dev/null)" "$(cat "$R/proc/sys/kernel/hostname" 2>/dev/null)" \
        "$(head -n 1 "$R/etc/hostname" 2>/dev/null)" "$(hostname -f 2>/dev/null)" "${HOSTNAME:-}" "${HOST:-}"; do
        echo "$word HOST"
        echo "${word%%.*} HOST"
        case $word in *.*) echo "${word#*.} DOMAIN" ;; esac
    done
    for word in "$(id -un 2>/dev/null)" "${USER:-}" "${LOGNAME:-}" "${SUDO_USER:-}" "${HOME##*/}"; do echo "$word USER"; done
    for file in "$R/etc/passwd" /etc/passwd; do
        awk -F: '$3 >= 1000 && $3 < 60000 { print $1 " USER"; n = split($6, part, "/"); print part[n] " USER"
            m = split($5, name, /[ ,]+/); for (i = 1; i <= m; i++) if (length(name[i]) > 3) print name[i] " USER" }' \
            "$file" 2>/dev/null
    done
    for file in etc/machine-id var/lib/dbus/machine-id sys/class/dmi/id/product_serial sys/class/dmi/id/board_serial \
        sys/class/dmi/id/product_uuid; do
        word=$(head -n 1 "$R/$file" 2>/dev/null | tr -d ' ')
        echo "$word ID"
    done
} | awk '
    BEGIN {
        common = " root user users admin nvidia nouveau nvrm nova ubuntu debian linux kernel localhost localdomain home " \
            "daemon default system driver module generic version none pci cuda gpu host box test server desktop laptop " \
            "local com org net lan intranet domain geforce quadro tesla unknown "
        n = split(common, list, " "); for (i = 1; i <= n; i++) usual[list[i]] = 1
    }
    { word = tolower($1); if (NF == 2 && length(word) >= 3 && !(word in usual) && !(word in seen)) {
        seen[word] = 1; print length(word) "\t" word "\t" $2 } }' | sort -rn | cut -f 2- >"$W/words"

cat >"$W/clean.awk" <<'AWK'
BEGIN {
    FS = "\001"
    while ((getline line < words) > 0) { split(line, pair, "\t"); total++; word[total] = pair[1]; holder[total] = pair[2] }
    hosts = " archive.ubuntu.com security.ubuntu.com ports.ubuntu.com deb.debian.org security.debian.org ftp.debian.org " \
        "developer.download.nvidia.com nvidia.github.io ppa.launchpadcontent.net download.proxmox.com apt.pop-os.org "
    safe = " quiet splash ro rw nomodeset debug single nosplash noapic nolapic "
    keep = "^(nvidia|nouveau|nova|rd\\.driver\\.|modprobe\\.|module_|module\\.|initcall_|pci$|pci[.=]|pcie|iommu|intel_iommu|" \
        "amd_iommu|vfio|drm|i915|amdgpu|video$|vga|acpi|efi|mitigations|lockdown|systemd\\.unit|init_on|ibt|BOOT_IMAGE)"
}
function placeholder(kind, value, key) {
    key = kind tolower(value)
    if (!(key in known)) known[key] = kind "-" (++number[kind])
    count++
    return known[key]
}
# Every match of the expression that has no character of "edge" beside it becomes a placeholder.
function replace(text, expression, kind, edge, done, start, size, found, before, after) {
    done = ""
    while (match(text, expression)) {
        start = RSTART; size = RLENGTH
        if (size < 1) break
        found = substr(text, start, size)
        before = start > 1 ? substr(text, start - 1, 1) : substr(done, length(done), 1)
        after = substr(text, start + size, 1)
        if ((before != "" && before ~ edge) || (after != "" && after ~ edge)) done = done substr(text, 1, start + size - 1)
        else done = done substr(text, 1, start - 1) placeholder(kind, found)
        text = substr(text, start + size)
    }
    return done text
}
function words_out(text, i, low, at, done, before, after) {
    for (i = 1; i <= total; i++) {
        low = tolower(text); at = index(low, word[i])
        if (!at) continue
        done = ""
        while (at) {
            before = at > 1 ? substr(low, at - 1, 1) : substr(tolower(done), length(done), 1)
            after = substr(low, at + length(word[i]), 1)
            if (before ~ /[a-z0-9]/ || after ~ /[a-z0-9]/) done = done substr(text, 1, at + length(word[i]) - 1)
            else done = done substr(text, 1, at - 1) placeholder(holder[i], word[i])
            text = substr(text, at + length(word[i])); low = tolower(text); at = index(low, word[i])
        }
        text = done text
    }
    return text
}
# Runs of hexadecimal digits and colons: MAC and IPv6 addresses. PCI addresses and times have at most two colons.
function addresses(text, done, run, start, size, n, part, i, pairs) {
    done = ""
    while (match(text, /[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*/)) {
        start = RSTART; size = RLENGTH; run = substr(text, start, size)
        done = done substr(text, 1, start - 1)
        text = substr(text, start + size)
        n = split(run, part, ":"); pairs = 0
        for (i = 1; i <= n; i++) if (length(part[i]) == 2) pairs++
        if (n >= 6 && pairs == n) done = done placeholder("MAC", run)
        else if ((index(run, "::") && run ~ /[0-9A-Fa-f]/ && run !~ /^::?$/) || n >= 6) {
            if (match(text, /^\.[0-9]+(\.[0-9]+)+/)) text = substr(text, RLENGTH + 1)
            done = done placeholder("IPV6", run)
        } else done = done run
    }
    return done text
}
function command_line(text, n, part, i, name, done) {
    n = split(text, part, " "); done = ""
    for (i = 1; i <= n; i++) {
        name = part[i]; sub(/=.*/, "", name)
        if (index(part[i], "=") == 0) {
            if (index(safe, " " part[i] " ") || part[i] ~ keep) done = done " " part[i]
            else { count++; done = done " HIDDEN" }
        } else if (name == "BOOT_IMAGE") { sub(/.*\//, "", part[i]); done = done " BOOT_IMAGE=/" part[i] }
        else if (name ~ keep) done = done " " part[i]
        else { count++; done = done " " (name ~ /^[a-z_.]+$/ && length(name) < 24 ? name : "HIDDEN") "=HIDDEN" }
    }
    return substr(done, 2)
}
function urls(text, done, start, size, host) {
    done = ""
    while (match(text, /:\/\/[^\/ \t"'<>]+/)) {
        start = RSTART; size = RLENGTH
        host = substr(text, start + 3, size - 3)
        if (index(host, "@")) { count++; sub(/.*@/, "", host) }
        if (index(hosts, " " host " ") == 0 && host !~ /^[a-z][a-z]\.archive\.ubuntu\.com$/) host = placeholder("SERVER", host)
        done = done substr(text, 1, start + 2) host
        text = substr(text, start + size)
    }
    return done text
}
function secrets(text, done, start, size, found, rest) {
    text = replace(text, "(gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|AKIA|ASIA|eyJ)[A-Za-z0-9_.-][A-Za-z0-9_.-]*", "SECRET", "[A-Za-z0-9]")
    done = ""
    while (match(tolower(text), /(token|passwd|password|passphrase|secret|api_?key|auth|bearer|credential)[a-z_]*["']?[=: ][ ]*["']?[^ "'<>,;]+/)) {
        start = RSTART; size = RLENGTH; found = substr(text, start, size)
        match(found, /[=: ][ ]*["']?/)
        done = done substr(text, 1, start - 1) substr(found, 1, RSTART + RLENGTH - 1) "HIDDEN"
        count++
        text = substr(text, start + size)
    }
    text = done text; done = ""
    while (match(text, /[A-Za-z0-9_+=][A-Za-z0-9_+=]*/)) {
        start = RSTART; size = RLENGTH; found = substr(text, start, size)
        if (size >= 28 && found ~ /[0-9]/ && found ~ /[A-Za-z]/) found = placeholder("SECRET", found)
        done = done substr(text, 1, start - 1) found
        text = substr(text, start + size)
    }
    return done text
}
# Values of fields that identify a card or a computer.
function fields(text, low, tag) {
    low = tolower(text)
    if (match(low, /<[a-z_]*(serial|uuid|pdi|guid|host_id|hostname|clique_?id|asset)[a-z_]*>[^<]+</)) {
        tag = substr(text, RSTART, RLENGTH); match(tag, />[^<]+</)
        if (substr(tag, RSTART + 1, RLENGTH - 2) !~ /^ *(N\/A|Unknown Error|ERR!|0)? *$/) {
            low = substr(tag, RSTART + 1, RLENGTH - 2)
            sub(/<[^>]*>[^<]*</, substr(tag, 1, RSTART) placeholder("ID", low) "<", text)
        }
    } else if (match(low, /(serial ?(number|no|nr)?|s\/n|pdi|guid|asset tag|service tag|host id)[ \t]*[:=][ \t]*[^ \t,;]+/)) {
        tag = substr(text, RSTART, RLENGTH)
        if (tag !~ /N\/A$/) {
            low = substr(text, RSTART + RLENGTH)
            match(tag, /[:=][ \t]*/)
            text = substr(text, 1, index(text, tag) - 1) substr(tag, 1, RSTART + RLENGTH - 1) placeholder("ID", substr(tag, RSTART + RLENGTH)) low
        }
    }
    return text
}
{
    count = 0
    text = $0
    gsub(/[\001-\010\013-\037\177]/, "?", text)
    if (text ~ /-----BEGIN/) inside = 1
    if (inside || text ~ /(ssh-(rsa|dss|ed25519)|ecdsa-sha2|sk-ssh|sk-ecdsa)[a-z0-9@.-]* +AAAA/) {
        if (text ~ /-----END/) inside = 0
        replaced++
        print "HIDDEN"
        next
    }
    if (match(text, /[Cc]ommand line: */)) {
        start = RSTART + RLENGTH
        text = substr(text, 1, start - 1) command_line(substr(text, start))
        if (plain_command_line) sub(/^.*[Cc]ommand line: */, "", text)
    }
    text = fields(text)
    text = urls(text)
    text = replace(text, "[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+", "ADDRESS", "[A-Za-z0-9]")
    text = replace(text, "/(home|Users)/[^/ :\"'<>,;)]+", "/home/USER", "[A-Za-z0-9]")
    h = "[0-9A-Fa-f]"; h4 = h h h h
    text = replace(text, h4 h4 "-" h4 "-" h4 "-" h4 "-" h4 h4 h4, "UUID", "[0-9A-Fa-f]")
    text = replace(text, h h "-" h h "-" h h "-" h h "-" h h "-" h h "(-" h h "-" h h ")?", "MAC", "[0-9A-Za-z-]")
    if (addressed) {
        text = addresses(text)
        text = replace(text, "[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+", "IP", "[A-Za-z0-9.]")
    }
    text = words_out(text)
    text = secrets(text)
    replaced += count
    print text
}
END { print replaced + 0 > counter }
AWK

say "These files go into the archive (names, addresses, serial numbers and keys are replaced):"
total=0
bytes=0
(cd "$RAW" && find . -type f | sed 's|^\./||' | sort) >"$W/names"
while IFS= read -r name; do
    case $name in *[!A-Za-z0-9._:/+~@=,-]*) unread "/${name#root/}: its name has unusual characters"; continue ;; esac
    if [ ${#name} -gt 80 ]; then
        unread "/${name#root/}: its name is too long"
        continue
    fi
    mkdir -p "$CLEAN/$(dirname "$name")"
    addressed=1
    plain=0
    case $name in root/var/lib/dpkg/status | root/proc/driver/*) addressed=0 ;; root/proc/cmdline) plain=1 ;; esac
    case $name in */resource | *.hex) cp "$RAW/$name" "$CLEAN/$name" && echo 0 >"$W/count" ;; *)
        awk -v words="$W/words" -v counter="$W/count" -v addressed="$addressed" -v plain_command_line="$plain" \
            -f "$W/clean.awk" "$RAW/$name" >"$CLEAN/$name" || fail 1 "awk cannot clean $name"
        ;;
    esac
    replaced=$(cat "$W/count")
    size=$(wc -c <"$CLEAN/$name" | tr -d ' ')
    total=$((total + replaced))
    bytes=$((bytes + size))
    say "  $name ($size bytes, $replaced replaced)"
done <"$W/names"
{
    echo "Made by dlbox collect; read it with: dlbox check --from FILE"
    echo "$total names, addresses, serial numbers and keys were replaced by placeholders."
    echo "Could not be read:"
    if [ -s "$UNREAD" ]; then cat "$UNREAD"; else echo "  nothing"; fi
} >"$CLEAN/README.txt"
say "$total replaced in all, $bytes bytes."
say "Could not be read:"
if [ -s "$UNREAD" ]; then cat "$UNREAD" >&2; else say "  nothing"; fi

if [ -z "$YES" ]; then
    printf 'Write %s? [y/N] ' "$OUT" >&2
    read -r answer || answer=
    case $answer in y | Y | yes | Yes) ;; *) fail 1 "nothing was written" ;; esac
fi

# --- the archive: owner, group and time of every entry are 0, which not every tar can do ----------------------------
cat >"$W/header.awk" <<'AWK'
function pad(text, size) { while (length(text) < size) text = text "\001"; return text }
BEGIN {
    for (i = 32; i < 127; i++) code[sprintf("%c", i)] = i
    head = pad(name, 100) pad("0000644", 8) pad("0000000", 8) pad("0000000", 8) pad(sprintf("%011o", size), 12)
    head = head pad("00000000000", 12)
    tail = "0" pad("", 100) pad("ustar", 6) "00" pad("", 247)
    sum = 8 * 32
    both = head tail
    for (i = 1; i <= length(both); i++) { c = substr(both, i, 1); if (c != "\001") sum += code[c] }
    printf "%s%s%s", head, sprintf("%06o", sum) "\001 ", tail
}
AWK
archive() {
    (cd "$CLEAN" && find . -type f | sed 's|^\./||' | sort) | while IFS= read -r name; do
        size=$(wc -c <"$CLEAN/$name" | tr -d ' ')
        awk -v name="dlbox-collect/$name" -v size="$size" -f "$W/header.awk" </dev/null | tr '\001' '\000'
        cat "$CLEAN/$name"
        rest=$((size % 512))
        [ "$rest" -eq 0 ] || dd if=/dev/zero bs=$((512 - rest)) count=1 2>/dev/null
    done
    dd if=/dev/zero bs=1024 count=1 2>/dev/null
}
if [ "$OUT" = - ]; then
    archive | gzip -n -c || fail 1 "stdout cannot be written"
else
    archive | gzip -n -c >"$W/archive" || fail 1 "the archive cannot be made"
    set -C
    cat "$W/archive" >"$OUT" || fail 1 "$OUT cannot be written"
    say "Wrote $OUT"
fi
