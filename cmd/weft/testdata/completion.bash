# Completion of weft for bash: source <(weft completion bash)
_weft() {
  local IFS=$'\n' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} typed='' words='' i
  COMPREPLY=()
  # bash takes the = of --flag=value for a word.
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$typed ${COMP_WORDS[i]}" in
      ' serve') typed='serve' ;;
      ' demo') typed='demo' ;;
      ' check') typed='check' ;;
      ' compact') typed='compact' ;;
      ' status') typed='status' ;;
      ' stats') typed='stats' ;;
      ' log') typed='log' ;;
      ' gaps') typed='gaps' ;;
      ' export') typed='export' ;;
      ' restore') typed='restore' ;;
      ' verify') typed='verify' ;;
      ' replica') typed='replica' ;;
      'replica list') typed='replica list' ;;
      ' conformance') typed='conformance' ;;
      ' completion') typed='completion' ;;
      'completion bash') typed='completion bash' ;;
      'completion zsh') typed='completion zsh' ;;
      'completion fish') typed='completion fish' ;;
      ' version') typed='version' ;;
    esac
  done
  case "$typed $prev" in
    'serve --jetstream') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --jetstream-key') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --from') COMPREPLY=($(compgen -W $'now\nstart' -- "$cur")); return ;;
    'serve --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'serve --checkpoint') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --replay-window') COMPREPLY=($(compgen -W $'24h\nall' -- "$cur")); return ;;
    'serve --disk') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --keep') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --cache') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --memory') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --replicate') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
    'serve --replica-alarm') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --verify-every') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --follow') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
    'serve --follow-every') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --collections') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --exclude-collections') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --dids') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --sources') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --subjects') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --change-slice') COMPREPLY=($(compgen -W $'now\nnow+backfill\nnow+purge\nnow+backfill+purge' -- "$cur")); return ;;
    'serve --bodies') COMPREPLY=($(compgen -W $'off\nwindow\nkeep' -- "$cur")); return ;;
    'serve --listen') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --metrics-listen') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --log-level') COMPREPLY=($(compgen -W $'debug\ninfo\nwarn\nerror' -- "$cur")); return ;;
    'serve --did-web') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --address-header') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --rate-limit') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --subscribers') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --max-lag') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --viewer') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'serve --log-format') COMPREPLY=($(compgen -W $'text\njson' -- "$cur")); return ;;
    'demo --rate') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'demo --seed') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'demo --bodies') COMPREPLY=($(compgen -W $'off\nwindow\nkeep' -- "$cur")); return ;;
    'demo --listen') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'demo --metrics-listen') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'demo --log-level') COMPREPLY=($(compgen -W $'debug\ninfo\nwarn\nerror' -- "$cur")); return ;;
    'check --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'check --sample') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'check --seed') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'compact --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'status --url') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'stats --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'log --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'log --from') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'log --limit') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'gaps --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'export --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'export --format') COMPREPLY=($(compgen -W $'ndjson\nparquet' -- "$cur")); return ;;
    'export --out') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'export --part-links') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'export --from') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'export --to') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'export --collection') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'restore --config') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
    'restore --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'restore --timestamp') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'restore --txid') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'verify --config') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
    'verify --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'verify --scratch') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'verify --segment-bytes') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'replica list --config') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
    'replica list --data') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")); return ;;
    'conformance --subject') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'conformance --source') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'conformance --other') COMPREPLY=($(compgen -W $'' -- "$cur")); return ;;
    'conformance --fixture') compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  case $typed in
    '') words=$'serve\ndemo\ncheck\ncompact\nstatus\nstats\nlog\ngaps\nexport\nrestore\nverify\nreplica\nconformance\ncompletion\nversion\n--help\n--version' ;;
    'serve') words=$'--jetstream\n--jetstream-key\n--from\n--yes\n--data\n--checkpoint\n--replay-window\n--disk\n--keep\n--cache\n--memory\n--replicate\n--replica-alarm\n--verify-every\n--follow\n--follow-every\n--collections\n--exclude-collections\n--dids\n--sources\n--subjects\n--change-slice\n--bodies\n--listen\n--metrics-listen\n--log-level\n--did-web\n--address-header\n--rate-limit\n--subscribers\n--resolve-handles\n--max-lag\n--viewer\n--log-format\n--help' ;;
    'demo') words=$'--rate\n--seed\n--bodies\n--listen\n--metrics-listen\n--log-level\n--help' ;;
    'check') words=$'--data\n--all\n--sample\n--seed\n--help' ;;
    'compact') words=$'--data\n--help' ;;
    'status') words=$'--url\n--ready\n--help' ;;
    'stats') words=$'--data\n--help' ;;
    'log') words=$'--data\n--from\n--limit\n--help' ;;
    'gaps') words=$'--data\n--help' ;;
    'export') words=$'--data\n--format\n--out\n--part-links\n--from\n--to\n--collection\n--inactive\n--bodies\n--help' ;;
    'restore') words=$'--config\n--data\n--timestamp\n--txid\n--plan\n--segments\n--force\n--help' ;;
    'verify') words=$'--config\n--data\n--json\n--scratch\n--segment-bytes\n--help' ;;
    'replica') words=$'list\n--help' ;;
    'replica list') words=$'--config\n--data\n--json\n--help' ;;
    'conformance') words=$'--subject\n--source\n--other\n--fixture\n--help' ;;
    'completion') words=$'bash\nzsh\nfish\n--help' ;;
    'completion bash') words=$'--help' ;;
    'completion zsh') words=$'--help' ;;
    'completion fish') words=$'--help' ;;
    'version') words=$'--help' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _weft weft
