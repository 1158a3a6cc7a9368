#!/bin/sh
# hello in POSIX shell, without a single other process: the shell's own words do all of it.
exec 3<>"${STASIS_DEVICE:-/dev/stasis}"
while IFS= read -r request <&3; do
  case $request in
    *'"name"'*) ;;
    *) request= ;;
  esac
  name=${request#*'"name"'}      # : "Ada"}
  name=${name#*'"'}
  name=${name%%'"'*}
  case $name in
    '' | *[!A-Za-z0-9\ ]*) printf '%s\n' '{"error":"name: a string of letters and digits is wanted"}' >&3 ;;
    *) printf '{"text":"Hello, %s!"}\n' "$name" >&3 ;;
  esac
done
