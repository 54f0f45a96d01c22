# Removes secrets from a text: every line of $files (contents of files, as texts) and all that has the form of a token.
# Use: jq -L lib 'include "scrub"; …'
def scrubbed($files):
  def removed: "[removed]";
  reduce (([$files[] | split("\n")[] | ltrimstr("GITHUB_TOKEN=") | select(length >= 6)] | unique | sort_by(-length))[]) as $secret
    (.; split($secret) | join(removed))
  | gsub("\u001b\\[[0-9;]*[A-Za-z]"; "")
  | gsub("[\\x00-\\x08\\x0b-\\x1f\\x7f]"; "")
  | gsub("AGE-SECRET-KEY-[0-9A-Za-z]+"; removed)
  | gsub("\\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"; removed)
  | gsub("\\b(?:gh[a-z]_|github_pat_)[A-Za-z0-9_]{8,}"; removed)
  | gsub("\\bxox[a-z]-[A-Za-z0-9-]{8,}"; removed)
  | gsub("\\b(?:AKIA|ASIA)[A-Z0-9]{8,}"; removed)
  | gsub("\\beyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]*)?"; removed)
  # Tokens of Discord, then of Telegram.
  | gsub("\\b[A-Za-z0-9_-]{20,}\\.[A-Za-z0-9_-]{5,8}\\.[A-Za-z0-9_-]{20,}"; removed)
  | gsub("\\b[0-9]{6,}:[A-Za-z0-9_-]{30,}"; removed)
  | gsub("(?<scheme>[a-z][a-z0-9+.-]*://)[^/\\s:@]*:[^/\\s@]+@"; "\(.scheme)" + removed + "@")
  | gsub("(?<name>(?:bearer|basic)\\s+)[^\\s\"',;]{6,}"; "\(.name)" + removed; "i")
  | gsub("(?<name>(?:token|secret|password|passwd|api[_-]?key|authorization|credential)s?[\"']?\\s*[:=]\\s*[\"']?)(?!\\[removed\\])(?!(?<=: )[a-z]+(?![^\\s,;.]))[^\\s\"',;]{6,}"; "\(.name)" + removed; "i")
  # Hexadecimal tokens; commits and store paths are shorter.
  | gsub("(?<![A-Za-z0-9])[0-9a-f]{48,}(?![A-Za-z0-9])"; removed)
  # Other tokens: 20 characters or more, with lower and upper case and digits. Paths begin with a slash, versions have dots.
  | gsub("(?<![A-Za-z0-9_/+=.-])(?=[A-Za-z0-9_/+=-]*[a-z])(?=[A-Za-z0-9_/+=-]*[A-Z])(?=[A-Za-z0-9_/+=-]*[0-9])[A-Za-z0-9_+=-][A-Za-z0-9_/+=-]{19,}"; removed);
