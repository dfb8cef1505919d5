#!/usr/bin/env bash
# Crash tests of the roll and of the recreate in a laboratory of each generation of TKG: the engine is killed before and after every append
# to its journal. The last line says how many passed. It takes an hour or two on two cores.
#
#   hack/crashtest-generations.sh BIN
#
# GENERATIONS, CASES and ROUNDS name fewer of them.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:?the folder with tkgfix and tkgfix-lab}
generations=${GENERATIONS:-v1alpha1 v1alpha2 v1alpha3 tanzukubernetescluster builtin-generic-v1beta1 builtin-generic-v1beta2}
cases=${CASES:-roll recreate}
rounds=()
for round in ${ROUNDS:-before after}; do
  rounds+=(--round "$round")
done

declare -A workflow=([roll]=e2e/testdata/roll.yaml [recreate]=examples/workflows/recreate.yaml)

passed=0 failed=0
for generation in $generations; do
  for case in $cases; do
    echo "== $case, generation $generation"
    if "$bin/tkgfix" crashtest "${workflow[$case]}" --generation "$generation" --scenario missing-ca "${rounds[@]}"; then
      passed=$((passed + 1))
    else
      echo "FAILED: $case, generation $generation"
      failed=$((failed + 1))
    fi
  done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
