# What looks like a secret is taken out of a text, and what is known to be one. `include "scrub"`, with jq -L.

# A text without any of the files' lines, and without anything shaped like a token. $files: contents of files, as texts.
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
  # Discord's, then Telegram's.
  | gsub("\\b[A-Za-z0-9_-]{20,}\\.[A-Za-z0-9_-]{5,8}\\.[A-Za-z0-9_-]{20,}"; removed)
  | gsub("\\b[0-9]{6,}:[A-Za-z0-9_-]{30,}"; removed)
  | gsub("(?<scheme>[a-z][a-z0-9+.-]*://)[^/\\s:@]*:[^/\\s@]+@"; "\(.scheme)" + removed + "@")
  | gsub("(?<name>(?:bearer|basic)\\s+)[^\\s\"',;]{6,}"; "\(.name)" + removed; "i")
  | gsub("(?<name>(?:token|secret|password|passwd|api[_-]?key|authorization|credential)s?[\"']?\\s*[:=]\\s*[\"']?)(?!\\[removed\\])(?!(?<=: )[a-z]+(?![^\\s,;.]))[^\\s\"',;]{6,}"; "\(.name)" + removed; "i")
  # A digest is as long as a token; commits and store paths are shorter.
  | gsub("(?<![A-Za-z0-9])[0-9a-f]{48,}(?![A-Za-z0-9])"; removed)
  # Long, with small and capital letters and digits. A path begins with a slash, and a version has dots.
  | gsub("(?<![A-Za-z0-9_/+=.-])(?=[A-Za-z0-9_/+=-]*[a-z])(?=[A-Za-z0-9_/+=-]*[A-Z])(?=[A-Za-z0-9_/+=-]*[0-9])[A-Za-z0-9_+=-][A-Za-z0-9_/+=-]{19,}"; removed);
