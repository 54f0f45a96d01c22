# The base image of all instances, without secrets. It boots on EC2, fetches the bundle of the instance that user data names, and
# switches to that host's configuration.
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
    # A deploy reads the stages and failures of the boot from it.
    heartbeat.enable = true;
  };

  # The first boot writes it; "f" keeps it after the switch to the host's configuration.
  systemd.tmpfiles.rules = [
    "d /var/lib/clawdinator 0755 root root -"
    "f /var/lib/clawdinator/image-revision 0644 root root - ${toString config.system.configurationRevision}"
  ];

  # If user data fails, the console is the only output.
  image.modules.amazon.systemd.services.amazon-init.serviceConfig.StandardOutput = "journal+console";

  environment.systemPackages = [ (pkgs.callPackage ./packages/clawctl.nix { }) ];
}
