# The Control API's Lambda: the one file that AWS runs, as clawctl's build made it.
{
  pkgs,
  clawctl,
}:
pkgs.runCommand "clawdinator-control-api-${clawctl.version}" { } ''
  install -D -m 0644 ${clawctl}/lib/clawctl/dist/lambda/index.mjs $out/index.mjs
''
