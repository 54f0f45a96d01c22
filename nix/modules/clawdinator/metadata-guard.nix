# The agent must not get AWS credentials, and the metadata service gives those of the instance's role to every process. So the
# firewall lets only root and the group of the units that use the role reach it. IPAddressDeny= of a unit is not enough: a build
# that the agent gives to the Nix daemon runs outside of the unit, with network.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.clawdinator;
  anything = cfg.enable || cfg.bootstrap.enable || cfg.heartbeat.enable;
  chain = "clawdinator-imds";
  inherit (config.networking) nftables;
  inherit (import ../../lib/hardening.nix) roleGid;

  # iptables-restore replaces the chain atomically. Single commands would leave the address open during each reload.
  rules = program: address: ''
    printf '%s\n' '*filter' ':${chain} - [0:0]' \
      '-A ${chain} -m owner --uid-owner 0 -j RETURN' \
      '-A ${chain} -m owner --gid-owner ${toString roleGid} -j RETURN' \
      '-A ${chain} -j REJECT' 'COMMIT' | ${program}-restore -w --noflush
    ${program} -w -C OUTPUT -d ${address} -j ${chain} 2>/dev/null || ${program} -w -I OUTPUT -d ${address} -j ${chain}
  '';
in
{
  config = lib.mkIf anything (
    lib.mkMerge [
      {
        assertions = [
          {
            assertion =
              nftables.enable
              ||
                config.networking.firewall.enable
                && (config.networking.firewall.backend or "iptables") != "firewalld";
            message = "services.clawdinator: enable the firewall (iptables or nftables). Without it the agent could use the instance's AWS role.";
          }
        ];
      }
      (lib.mkIf (!nftables.enable) {
        networking.firewall.extraCommands =
          rules "iptables" "169.254.169.254/32"
          + lib.optionalString config.networking.enableIPv6 (rules "ip6tables" "fd00:ec2::254/128");
      })
      (lib.mkIf nftables.enable {
        networking.nftables.tables.clawdinator = {
          family = "inet";
          content = ''
            chain output {
              type filter hook output priority filter; policy accept;
              ip daddr 169.254.169.254 meta skuid != 0 meta skgid != ${toString roleGid} reject
              ip6 daddr fd00:ec2::254 meta skuid != 0 meta skgid != ${toString roleGid} reject
            }
          '';
        };
      })
    ]
  );
}
