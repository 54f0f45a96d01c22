# No agent holds an AWS credential. The instance's role is one request to the metadata service away, so the kernel lets
# only root and the group of the two units that use the role get there. A unit's IPAddressDeny= alone would leave a way
# round: a build that the agent hands to the Nix daemon runs elsewhere, with network.
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

  # The chain is made, or made anew, in one transaction: rule by rule it would let everybody through at each reload.
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
            message = "services.clawdinator: without the firewall (iptables or nftables) the agent could ask for the instance's AWS role.";
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
