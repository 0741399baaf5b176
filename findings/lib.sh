# What the scripts beside this file share: a folder that goes away, and pinned public packages in it. To be sourced.
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export LC_ALL=C

# deb NAME=VERSION...: these Debian packages, and what they need that is not installed, unpacked below $T/root; nothing is installed.
deb() {
    local plan
    plan() { apt-get -s -y -qq --allow-downgrades --no-install-recommends install "$@" | sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p'; }
    plan=$(plan "$@" 2>/dev/null) || { apt-get -qq update && plan=$(plan "$@"); }
    mkdir -p "$T/deb" "$T/root"
    # shellcheck disable=SC2086
    [ -z "$plan" ] || (cd "$T/deb" && apt-get -qq -o APT::Sandbox::User=root download $plan >/dev/null)
    local file
    for file in "$T"/deb/*.deb; do
        [ ! -e "$file" ] || dpkg -x "$file" "$T/root"
    done
    export PATH=$T/root/sbin:$T/root/usr/sbin:$T/root/usr/bin:$PATH
    export LD_LIBRARY_PATH=$T/root/usr/lib/x86_64-linux-gnu:$T/root/lib/x86_64-linux-gnu:$T/root/usr/lib/x86_64-linux-gnu/pulseaudio
}

# pypi NAME==VERSION...: these Python packages in $T/py.
pypi() {
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target "$T/py" "$@"
    export PYTHONPATH=$T/py
}

# crates 'NAME = "=VERSION"'...: the program on standard input, built with these crates, is run.
crates() {
    mkdir -p "$T/crate/src"
    cat >"$T/crate/src/main.rs"
    printf '[package]\nname = "finding"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n' >"$T/crate/Cargo.toml"
    printf '%s\n' "$@" >>"$T/crate/Cargo.toml"
    CARGO_TARGET_DIR=$T/target nice -n 10 cargo run -q --manifest-path "$T/crate/Cargo.toml"
}

# same WHAT GOT WANTED: the finding holds as long as GOT is what was seen when it was written down.
same() {
    [ "$2" = "$3" ] || { printf 'changed: %s\n--- now\n%s\n--- when found\n%s\n' "$1" "$2" "$3" >&2; exit 1; }
    printf 'as found: %s\n' "$1"
}
