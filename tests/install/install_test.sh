#!/bin/bash
# install_test.sh CMAKE BUILD_DIR CXX: `cmake --install` into a fresh folder, then an outside program is built against
# it and run, by find_package and by pkg-config; then what leaves the library is looked at.
set -euo pipefail
cmake=$1 build=$2 cxx=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$cmake" --install "$build" --prefix "$dir/first" >"$dir/log" || fail "cmake --install: $(cat "$dir/log")"
mv "$dir/first" "$dir/moved"  # an installed tree may be moved
prefix=$dir/moved
export LD_LIBRARY_PATH=$prefix/lib

library=$prefix/lib/libregroup.so.0
names=$(nm -DC --defined-only "$library" | grep -v ' A REGROUP_0$' | cut -d' ' -f3-)
defines=()
if grep -q '^regroup::Group::join(' <<<"$names"; then defines=(-DOUTSIDE_JOIN); fi

echo "--- find_package"
"$cmake" -S "$here/program" -B "$dir/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF -DCMAKE_CXX_FLAGS="${defines[*]}"
"$cmake" --build "$dir/build"
timeout 60 "$dir/build/outside" || fail "the program built by find_package ended with status $?"

echo "--- pkg-config"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs regroup)"
"$cxx" -std=c++20 -Wall -Wextra -Werror "${defines[@]}" "$here/program/main.cc" -o "$dir/outside" "${flags[@]}"
timeout 60 "$dir/outside" || fail "the program built by pkg-config ended with status $?"

echo "--- every public header compiles alone, from the installed tree"
while read -r header; do
  "$cxx" -std=c++20 -fsyntax-only -I"$prefix/include" -x c++ - <<<"#include <$header>" || fail "$header"
done < <(cd "$prefix/include" && find regroup -name '*.h' | sort)

echo "--- what leaves the library"
[[ $(readelf -d "$library" | grep -c 'soname: \[libregroup.so.0\]') == 1 ]] || fail "soname is not libregroup.so.0"
leaked=$(grep -vE '^(typeinfo (name )?for |vtable for |guard variable for )?regroup::|^regroup_[a-z_]+(@|$)' <<<"$names" || true)
[[ -z $leaked ]] || fail "names that are not ours leave the library:"$'\n'"$leaked"
inside=$(grep -E 'regroup::(detail|log|core|wire|shm|tcp|kernels|driver|exec|algo)::' <<<"$names" || true)
[[ -z $inside ]] || fail "names of the inside leave the library:"$'\n'"$inside"
if [[ -x $build/bin/regroup ]]; then
  timeout 60 env -u LD_LIBRARY_PATH "$prefix/bin/regroup" --help >/dev/null || fail "the installed regroup does not start"
  timeout 60 env -u LD_LIBRARY_PATH "$prefix/bin/regroup" chaos --members 2 --seconds 1 --arenas shm --faults kill \
    >"$dir/chaos" 2>&1 || fail "the installed regroup chaos: $(tail -n 3 "$dir/chaos")"
fi
echo "install: ok, $(wc -l <<<"$names") names leave the library"
