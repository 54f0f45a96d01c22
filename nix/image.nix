# The base image: no instance's configuration, no secret. It boots on EC2, fetches the bundle of whichever instance user
# data says it is, and becomes that host by `nixos-rebuild switch`.
{
  config,
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
    # A deploy sees the stages of the boot, and what keeps the machine in one.
    heartbeat.enable = true;
  };

  # Written once, by the first boot: it outlives the switch to the host's own configuration.
  systemd.tmpfiles.rules = [
    "d /var/lib/clawdinator 0755 root root -"
    "f /var/lib/clawdinator/image-revision 0644 root root - ${toString config.system.configurationRevision}"
  ];

  # User data writes what the machine is; where that fails, the console is the only place to read it.
  image.modules.amazon.systemd.services.amazon-init.serviceConfig.StandardOutput = "journal+console";

  environment.systemPackages = [ (pkgs.callPackage ./packages/clawctl.nix { }) ];
}
