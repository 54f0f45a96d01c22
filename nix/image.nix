# The base image: no instance's configuration, no secret. It boots on EC2, fetches the bundle of whichever instance user
# data says it is, and becomes that host by `nixos-rebuild switch`.
{
  modulesPath,
  pkgs,
  ...
}:
let
  site = import ./site.nix;
in
{
  imports = [
    "${modulesPath}/virtualisation/amazon-image.nix"
    ./modules/clawdinator.nix
    ./base.nix
  ];

  services.clawdinator = {
    bootstrap = {
      enable = true;
      inherit (site) bucket region;
    };
    repoSeeds = [ "clawdinators" ];
    # Says "inactive" until the switch: a deploy then sees a host that is on its way, not a silent one.
    heartbeat.enable = true;
  };

  environment.systemPackages = [ (pkgs.callPackage ./packages/clawctl.nix { }) ];
}
