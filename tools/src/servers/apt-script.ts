// What the shell does while packages are installed: no package starts its service, and nothing of that outlives the work.

/**
 * Prepended to every script. Arguments of a script: the machine's policy file, a folder to lock, a file that stands for
 * an installation under way, then the packages.
 *
 * While policy-rc.d answers 101, no package starts its service. Ours answers so only while a process of this shell's
 * session lives, dpkg's parent included, and not for longer than two hours. Left behind by a shell that was killed, it
 * gives way to the machine's own policy, or to none, the first time that it is asked. The machine's own is copied first
 * and replaced in one step, so a kill at any moment leaves either it or ours in place.
 */
const POLICY = `
policy=$1 lock=$2 mark=$3
shift 3
own=$policy.before-nest-dtx
new=$policy.nest-dtx-new
is_ours() { grep -qs '^# nest-dtx:' "$policy"; }

put_policy() {
  rm -f "$new" "$own"
  if [ -e "$policy" ] || [ -L "$policy" ]; then cp -a "$policy" "$own" || return 1; fi
  cat >"$new" <<END || return 1
#!/bin/sh
# nest-dtx: no package starts its service while session $$ installs packages. Left over after that, this file removes itself.
lives() { cat /proc/[0-9]*/stat 2>/dev/null | sed -n 's/.*) \\([^ZX]\\) [0-9-]* [0-9-]* \\([0-9-]*\\) .*/\\2/p' | grep -qx $$; }
if [ -n "\\$(find '$policy' -mmin -120 2>/dev/null)" ] && lives; then exit 101; fi
if [ -e '$own' ] || [ -L '$own' ]; then mv -f '$own' '$policy'; exec '$policy' "\\$@"; fi
rm -f '$policy'
END
  chmod 755 "$new" && mv -f "$new" "$policy"
}

take_policy_away() {
  rm -f "$new"
  if ! is_ours; then rm -f "$own"; elif [ -e "$own" ] || [ -L "$own" ]; then mv -f "$own" "$policy"; else rm -f "$policy"; fi
}

# A policy of ours is of an installation that goes on without its shell, or removes itself as it is asked.
until_free() {
  waited=0
  while is_ours; do
    "$policy" nest-dtx start >/dev/null 2>&1
    answer=$?
    is_ours || break
    if [ "$answer" -ne 101 ]; then take_policy_away; break; fi
    waited=$((waited + 1))
    if [ "$waited" -gt 600 ]; then echo "another installation of packages does not end"; return 1; fi
    sleep 1
  done
}
`;

/**
 * `--no-upgrade` so that nothing which runs already is touched. Services are disabled at the end, since only the programs
 * are wanted: the next boot of the machine must not start them either. An installation that was killed before is
 * completed first.
 */
export const INSTALL = `${POLICY}
exec 9<"$lock"
flock -w 600 9 || { echo "another installation of packages does not end"; exit 1; }
until_free || exit 1
trap take_policy_away EXIT
trap 'exit 143' TERM
trap '' INT HUP
put_policy || exit 1
if [ -e "$mark" ]; then dpkg --configure -a 9<&-; fi
for package in "$@"; do echo "$package"; done >"$mark"
apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends --no-upgrade "$@" 9<&-
code=$?
for package in "$@"; do systemctl disable "$package" >/dev/null 2>&1 9<&-; done
rm -f "$mark"
exit "$code"
`;

export const UPDATE = `${POLICY}
exec flock -w 600 "$lock" apt-get -qq -o DPkg::Lock::Timeout=300 update
`;

/** After a shell that was killed: what it has left is gone, unless its packages are still being installed. */
export const HEAL = `${POLICY}
if is_ours; then "$policy" nest-dtx start; fi
true
`;
