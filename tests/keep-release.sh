#!/usr/bin/env bash
# Keeps the statements and migrations of the last release: tests/keep-release.sh <commit of the release>
#
# It writes into tests/last_release
#   - the statements of the release by dialect, each as the service sends it: statements of two files
#     are joined, and those in the sources are in inline.sql, one a line;
#   - the checksums of its migrations, and its name.
# tests/api/releases.rs runs these statements on today's tables, and compares the checksums.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "tests/keep-release.sh: $*" >&2
    exit 1
}

[ $# = 1 ] || fail "expected the commit of the release, such as 6026310"
commit=$(git rev-parse --verify --quiet "$1^{commit}") || fail "there is no commit $1"
version=$(git show "$commit:Cargo.toml" | sed -n 's/^version = "\(.*\)"/\1/p' | head -1)
kept=tests/last_release

# The statements in a dialect's sources ("SELECT …" and so on), without those of tests. A {} stands for
# the name of a table of entities.
inline() {
    git ls-tree -r --name-only "$commit" "src/store/$1" | while read -r file; do
        git show "$commit:$file" | sed '/#\[cfg(test)\]/,$d' | { grep -oE '"(SELECT|INSERT|UPDATE|DELETE|WITH) [^"]*"' || true; } | tr -d '"'
    done | while read -r statement; do
        case $statement in
        *_sqlx_migrations*) ;; # statements about the table of sqlx itself
        *'{}'*) for table in facilities blood_banks blood_inventory blood_distributions blood_requests; do echo "${statement/'{}'/$table}"; done ;;
        *) echo "$statement" ;;
        esac
    done
}

rm -rf "$kept"
for dialect in postgres sqlite; do
    git ls-tree -r --name-only "$commit" "sql/$dialect" | while read -r file; do
        to="$kept/${file#sql/}"
        mkdir -p "$(dirname "$to")"
        git show "$commit:$file" >"$to"
    done
    inline "$dialect" >"$kept/$dialect/inline.sql"
    # Each of these files is the end of a statement that begins with derive.sql.
    if [ -e "$kept/$dialect/derive_select.sql" ]; then
        for end in derive_select audit_select; do
            cat "$kept/$dialect/derive.sql" "$kept/$dialect/$end.sql" >"$kept/$dialect/whole_$end.sql"
        done
        rm "$kept/$dialect"/{derive,derive_select,audit_select}.sql
    fi
done
git ls-tree -r --name-only "$commit" migrations | while read -r file; do
    git show "$commit:$file" | sha384sum | sed "s|-\$|$file|"
done >"$kept/migrations.sha384"
echo "$version $commit" >"$kept/release"
echo "kept: release $version, $(find "$kept" -name '*.sql' | wc -l) files of statements"
