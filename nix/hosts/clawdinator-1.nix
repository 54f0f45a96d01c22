# clawdinator-1. Settings for this host only; common.nix has those of all hosts.
{
  imports = [ ./common.nix ];

  services.clawdinator.instanceName = "clawdinator-1";
}
