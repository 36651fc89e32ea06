#compdef weft
# Completion of weft for zsh: source <(weft completion zsh)
_weft() {
  local typed=''
  local -a commands
  while (( CURRENT > 2 )); do
    case "$typed ${words[2]}" in
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
      *) break ;;
    esac
    shift words
    (( CURRENT-- ))
  done
  case $typed in
    '')
      commands=(
        'serve:follow a Jetstream server and answer queries'
        'demo:index a synthetic network, without internet access'
        'check:check a data directory for damage'
        'compact:compact all segments of an index into one'
        'status:print the status of a running weft and its replica'
        'stats:print the contents of an index and the disk space that they take'
        'log:print rows of the log'
        'gaps:list the gaps of an index, or retry them'
        'export:export all links as JSON lines or Parquet'
        'restore:restore an index from its replica, newest or point-in-time'
        'verify:verify that a replica can be restored: test-restore weft.db and check every file'
        'replica:inspect a Litestream replica of an index'
        'conformance:test a server'\''s blue.microcosm.links.* API'
        'completion:print the completion script of a shell'
        'version:print the version'
      )
      _arguments : \
        '--help[show help]' \
        '--version[print the version]' \
        '1: :{_describe command commands}' ;;
    'serve')
      _arguments : \
        '--jetstream=[Jetstream server to follow]:value:()' \
        '--jetstream-key=[API KEY of the server'\''s archive]:value:()' \
        '--from=[where a new index begins]:value:(now start)' \
        '--yes[start a backfill of more than 1 GiB]' \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--checkpoint=[when to checkpoint the WAL]:value:()' \
        '--replay-window=[how long the log keeps a row, and so how far back the cursor of a stream reaches]:value:(24h all)' \
        '--disk=[disk space that all files of the data directory may take, a SIZE]:value:()' \
        '--keep=[how long links are kept, by their own time]:value:()' \
        '--cache=[block cache in MiB of memory]:value:()' \
        '--memory=[memory that weft may take, a SIZE]:value:()' \
        '--replicate=[replicate as this litestream.yml]:file:_files' \
        '--replica-alarm=[report degraded in /readyz when the replica is this far behind]:value:()' \
        '--verify-every=[test-restore the replica into a scratch directory at this interval]:value:()' \
        '--follow=[serve a read-only copy of another weft'\''s index, updated from the replica in this litestream.yml]:file:_files' \
        '--follow-every=[how often --follow polls the replica]:value:()' \
        '--collections=[index only these COLLECTIONS]:value:()' \
        '--exclude-collections=[do not index these COLLECTIONS]:value:()' \
        '--dids=[index only records of these DIDS]:value:()' \
        '--sources=[index only links of these SOURCES]:value:()' \
        '--subjects=[index only links to these SUBJECTS]:value:()' \
        '--change-slice=[change the slice of an existing index]:value:(now now+backfill now+purge now+backfill+purge)' \
        '--bodies=[store the content of records with links]:value:(off window keep)' \
        '--listen=[listen ADDRESS for queries]:value:()' \
        '--metrics-listen=[listen ADDRESS for Prometheus metrics at /metrics]:value:()' \
        '--log-level=[debug, info, warn or error]:value:(debug info warn error)' \
        '--did-web=[public DOMAIN of this service]:value:()' \
        '--address-header=[client-IP HEADER set by your reverse proxy]:value:()' \
        '--rate-limit=[rate limit]:value:()' \
        '--subscribers=[maximum live streams]:value:()' \
        '--resolve-handles[resolve handles in queries]' \
        '--max-lag=[answer /readyz with 503 when the index is further behind than this, as /readyz?max-lag=60s does for one request]:value:()' \
        '--viewer=[URL of a viewer of records that pages link to, with {uri} in place of the at-uri]:value:()' \
        '--log-format=[text or json]:value:(text json)' \
        '--help[show help]' \
        '*: :()' ;;
    'demo')
      _arguments : \
        '--rate=[events per second]:value:()' \
        '--seed=[random seed]:value:()' \
        '--bodies=[store the content of records with links]:value:(off window keep)' \
        '--listen=[listen ADDRESS for queries]:value:()' \
        '--metrics-listen=[listen ADDRESS for Prometheus metrics at /metrics]:value:()' \
        '--log-level=[debug, info, warn or error]:value:(debug info warn error)' \
        '--help[show help]' \
        '*: :()' ;;
    'check')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--all[check everything]' \
        '--sample=[check N records and lists chosen at random]:value:()' \
        '--seed=[repeat the sample of an earlier check with this seed]:value:()' \
        '--help[show help]' \
        '*: :()' ;;
    'compact')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--help[show help]' \
        '*: :()' ;;
    'status')
      _arguments : \
        '--url=[the URL of the running weft]:value:()' \
        '--ready[ask only whether it can answer, for a health check]' \
        '--help[show help]' \
        '*: :()' ;;
    'stats')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--help[show help]' \
        '*: :()' ;;
    'log')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--from=[the first row to print, by its SEQ]:value:()' \
        '--limit=[print at most N rows]:value:()' \
        '--help[show help]' \
        '*: :()' ;;
    'gaps')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--help[show help]' \
        '*: :()' ;;
    'export')
      _arguments : \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--format=[ndjson or parquet]:value:(ndjson parquet)' \
        '--out=[write files to this DIRECTORY]:directory:_directories' \
        '--part-links=[at most N links per file]:value:()' \
        '--from=[start at this DID or AT-URI]:value:()' \
        '--to=[end before this AT-URI or DID]:value:()' \
        '--collection=[only links from records of this collection]:value:()' \
        '--inactive[also export links of inactive accounts, which queries hide]' \
        '--bodies[also export the content of each record, if weft serve --bodies stored it]' \
        '--help[show help]' \
        '*: :()' ;;
    'restore')
      _arguments : \
        '--config=[the litestream.yml]:file:_files' \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--timestamp=[restore the last transaction before this TIME]:value:()' \
        '--txid=[restore the transaction TXID, in hexadecimal as in weft replica list]:value:()' \
        '--plan[dry run]' \
        '--segments[keep weft.db and restore only its missing segments]' \
        '--force[replace an existing index, and keep it in before-restore-TIME]' \
        '--help[show help]' \
        '*: :()' ;;
    'verify')
      _arguments : \
        '--config=[the litestream.yml]:file:_files' \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--json[print JSON]' \
        '--scratch=[scratch DIRECTORY]:directory:_directories' \
        '--segment-bytes=[read at most this much of the segments, chosen at random]:value:()' \
        '--help[show help]' \
        '*: :()' ;;
    'replica')
      commands=(
        'list:list the files of a replica and the times it can be restored to'
      )
      _arguments : \
        '--help[show help]' \
        '1: :{_describe command commands}' ;;
    'replica list')
      _arguments : \
        '--config=[the litestream.yml]:file:_files' \
        '--data=[the data DIRECTORY]:directory:_directories' \
        '--json[print JSON]' \
        '--help[show help]' \
        '*: :()' ;;
    'conformance')
      _arguments : \
        '--subject=[a SUBJECT that has links]:value:()' \
        '--source=[the SOURCE of its links, collection]:value:()' \
        '--other=[a PATH to another link in the same records, for many-to-many]:value:()' \
        '--fixture=[a JSON FILE of lists to test]:file:_files' \
        '--help[show help]' \
        '*: :()' ;;
    'completion')
      commands=(
        'bash:print the completion script of bash'
        'zsh:print the completion script of zsh'
        'fish:print the completion script of fish'
      )
      _arguments : \
        '--help[show help]' \
        '1: :{_describe command commands}' ;;
    'completion bash')
      _arguments : \
        '--help[show help]' \
        '*: :()' ;;
    'completion zsh')
      _arguments : \
        '--help[show help]' \
        '*: :()' ;;
    'completion fish')
      _arguments : \
        '--help[show help]' \
        '*: :()' ;;
    'version')
      _arguments : \
        '--help[show help]' \
        '*: :()' ;;
  esac
}
if [[ $funcstack[1] == _weft ]]; then
  _weft "$@"
else
  compdef _weft weft
fi
