# clawdinator-2. What all hosts share is in common.nix; what is this one's alone goes here.
{
  imports = [ ./common.nix ];

  services.clawdinator.instanceName = "clawdinator-2";
}
