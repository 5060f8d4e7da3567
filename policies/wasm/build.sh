#!/bin/sh
# Compiles the example policies with real OPA: every policy is an entrypoint of one module.
# Usage: policies/wasm/build.sh [folder]; needs opa on PATH (or its path in $OPA), see README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here}
opa=${OPA:-opa}
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
cd "$here/.."
sources="authz.rego rbac.rego residency.rego spiffe_allow.rego tenant.rego"
# shellcheck disable=SC2086
"$opa" build --target wasm \
  --entrypoint portcullis/authz/decision \
  --entrypoint portcullis/rbac/allow \
  --entrypoint portcullis/residency/allow \
  --entrypoint portcullis/spiffe_allow/allow \
  --entrypoint portcullis/tenant/allow \
  --output "$bundle/bundle.tar.gz" $sources
# OPA writes absolute names; tar says so on stderr.
tar -xzf "$bundle/bundle.tar.gz" -C "$bundle" 2>/dev/null
cat "$bundle/policy.wasm" > "$output/portcullis.wasm"
{
  echo "opa $("$opa" version | sed -n 's/^Version: //p')"
  # shellcheck disable=SC2086
  sha256sum $sources
} > "$output/SOURCES"
