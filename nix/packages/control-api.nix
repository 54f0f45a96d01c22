# The Lambda function of the Control API, from clawctl's build.
{
  pkgs,
  clawctl,
}:
pkgs.runCommand "clawdinator-control-api-${clawctl.version}" { } ''
  install -D -m 0644 ${clawctl}/lib/clawctl/dist/lambda/index.mjs $out/index.mjs
''
