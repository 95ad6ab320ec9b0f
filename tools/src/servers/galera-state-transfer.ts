// How a node of a Galera cluster on one machine gets the write sets that it has missed. `rsync` and `mariabackup` need programs of further
// packages, and with `skip` the donor sends nothing at all, so that a joining node waits for ever.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The value of `wsrep_sst_method`. The server runs `wsrep_sst_<method>` from its PATH. */
export const METHOD = 'missed_only';

/**
 * The nodes begin with one copy of the data, so a joining node only ever lacks write sets, which Galera sends by itself (IST).
 * The donor leaves the position of the joining node in a file that is named by its address. The joining node reports it.
 * A node that lacks more than the donor still has fails.
 */
const SCRIPT = `#!/bin/sh
folder=$(dirname "$0")
role= address= gtid= domain=0 bypass=
while [ $# -gt 0 ]; do
  case "$1" in
    --role) role=$2; shift ;;
    --address) address=$2; shift ;;
    --gtid) gtid=$2; shift ;;
    --gtid-domain-id) domain=$2; shift ;;
    --parent) parent=$2; shift ;;
    --bypass) bypass=1 ;;
  esac
  shift
done
address=\${address%%/*}
answer="$folder/$address"
if [ "$role" = donor ]; then
  if [ -z "$bypass" ]; then echo "more is missing than the donor has kept" >&2; exit 1; fi
  echo continue
  echo "$gtid $domain" >"$answer.new" && mv "$answer.new" "$answer" && echo "done $gtid $domain"
  exit
fi
rm -f "$answer"
echo "ready $address"
# The server that waits may be killed meanwhile.
while [ ! -e "$answer" ]; do kill -0 "$parent" 2>/dev/null || exit 1; sleep 0.1; done
cat "$answer"
`;

/** Writes the script into a folder, which must come first in the PATH of each node. */
export function writeStateTransfer(dir: string): void {
  const path = join(dir, `wsrep_sst_${METHOD}`);
  writeFileSync(path, SCRIPT);
  chmodSync(path, 0o700);
}
