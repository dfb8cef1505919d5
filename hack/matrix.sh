#!/usr/bin/env bash
# Runs the matrix test and prints its table: generation by fault, with the remedy that was planned and carried out. The last line counts
# the cells; one that was not run has not passed.
set -uo pipefail
cd "$(dirname "$0")/.."
told=$(mktemp)
trap 'rm -f "$told"' EXIT
TKGFIX_E2E_MATRIX=$told "${GO:-go}" test -count=1 -timeout 20m -tags matrix -run '^TestMatrix$' ./e2e "$@"
code=$?
awk -v code="$code" '
	$1 == "cell" { cells++; if (!($2 in seen)) { seen[$2]; rows[++r] = $2 } if (!($3 in columns)) { columns[$3]; names[++c] = $3 } state[$2, $3] = "FAILED" }
	$1 == "passed" { if (state[$2, $3] == "FAILED") passed++; state[$2, $3] = $4 }
	END {
		printf "%-24s", "generation"
		for (j = 1; j <= c; j++) printf " %-18s", names[j]
		print ""
		for (i = 1; i <= r; i++) {
			printf "%-24s", rows[i]
			for (j = 1; j <= c; j++) printf " %-18s", ((rows[i], names[j]) in state) ? state[rows[i], names[j]] : "-"
			print ""
		}
		failed = cells - passed
		if (failed == 0 && (code != 0 || cells == 0)) failed = 1 # something besides the cells, such as a laboratory that does not end
		printf "%d passed, %d failed\n", passed, failed
		exit failed > 0
	}' "$told"
