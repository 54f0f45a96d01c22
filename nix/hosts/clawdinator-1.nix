# Settings of clawdinator-1 only. Settings of all hosts are in common.nix.
{
  imports = [ ./common.nix ];

  services.clawdinator.instanceName = "clawdinator-1";
}
