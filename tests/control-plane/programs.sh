# Sourced by the scripts that build programs from Go modules. They set $bin, the directory of the programs.

fail() {
    echo "$1" >&2
    exit 2
}

# A stamp file beside the programs has their release, so that a new release is built again. It is written first, so that
# an interrupted build continues.
only_of() { # STAMP VERSION PROGRAM…
    local stamp=$bin/$1 version=$2
    shift 2
    [ "$(cat "$stamp" 2>/dev/null || true)" = "$version" ] && return 0
    (cd "$bin" && rm -f "$@")
    echo "$version" >"$stamp"
}

# The version of a module in a go.mod.
version_of() { # MODULE GO.MOD
    sed -n "s|^\t$1 \(v[^ ]*\).*|\1|p" "$2"
}

modules=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The supported versions of Kubernetes, such as 1.31, oldest first: the directories of versions/, and the newest.
supported_versions() {
    (cd "$modules/versions" && printf '%s\n' [0-9]*) | sort -V
    version_of k8s.io/kubernetes "$modules/go.mod" | sed 's/^v\(1\.[0-9]*\).*/\1/'
}

# The modules of tests/e2e in which the API server decides: about schemas, expressions, permissions, and which webhook it
# calls with what. The others take most of the time and are about our program under load, over time or with faults: audit,
# certificates, chart, deployment, doctor, faults, kubeconfigs, memory, outage, rollout, traces and two_api_servers.
decided_by_api_server="apply:: canonical_floor:: deletes:: floor:: guard:: harness:: left_out:: one_call:: policy:: policy_schema::
    recipes:: registration:: rights:: strict:: updates:: verdicts::"

# The directory with the Go module of a supported version.
module_of() { # VERSION
    if [ -n "$1" ] && [ -d "$modules/versions/$1" ]; then echo "$modules/versions/$1"; else echo "$modules"; fi
}

# What the programs of this release of Kubernetes say about their version.
kubernetes_flags() { # VERSION
    local minor=${1#v1.}
    minor=${minor%%.*}
    echo "-X k8s.io/component-base/version.gitVersion=$1" \
        "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
}

build() { # MODULE NAME PACKAGE VERSION LINKER-FLAGS [TAGS]
    [ ! -x "$bin/$2" ] || return 0
    command -v go >/dev/null ||
        fail "$2 is not in $bin and Go is not installed: install Go 1.26${hint:+ or $hint}"
    echo "building $2 $4 (once; the first program takes a few minutes) …" >&2
    (cd "$1" && CGO_ENABLED=0 go build -tags "${6:-}" -ldflags "-s -w $5" -o "$bin/$2.new" "$3")
    mv "$bin/$2.new" "$bin/$2"
}
