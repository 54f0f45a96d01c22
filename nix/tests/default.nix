# NixOS tests in virtual machines: `nix build .#checks.x86_64-linux.boot -L`. S3 and the metadata service (aws.py) and the
# gateway are stand-ins. They need KVM.
{
  pkgs,
  # services.clawdinator and agenix. The tests set the packages.
  modules,
}:
let
  inherit (pkgs) lib;

  # The stand-in of the gateway: accepts its configuration, runs until it is stopped, and reports its channels.
  gateway =
    (pkgs.writeShellScriptBin "openclaw" ''
      case $1 in
        config) echo '{"valid": true}' ;;
        health) echo '{"plugins": {"errors": []}}' ;;
        channels)
          echo '{"channelAccounts": {"discord": [{"configured": true, "running": true, "connected": true, "probe": {"ok": true}}]}}'
          ;;
        gateway)
          echo "discord ''${OPENCLAW_SKIP_CHANNELS:+skipped}"
          exec ${lib.getExe' pkgs.coreutils "sleep"} infinity
          ;;
      esac
    '')
    // {
      version = "2026.6.11";
    };

  # Writes a bundle of generation $1 to the bucket; its repository `clawdinators` has the file COMMIT.
  makeBundle = pkgs.writeShellApplication {
    name = "make-bundle";
    runtimeInputs = [
      pkgs.age
      pkgs.git
      pkgs.gnutar
      pkgs.gzip
      pkgs.jq
    ];
    text = ''
      prefix=/aws/objects/bootstrap/clawdinator-1 objects='[]'
      mkdir -p "$prefix"/{secrets,repos}
      [[ -f /aws/identity ]] || age-keygen -o /aws/identity
      recipient=$(age-keygen -y /aws/identity)
      # add KIND NAME FILE SOURCE MORE
      add() {
        local digest key
        digest=$(sha256sum <"$4" | cut -c 1-64)
        key=''${3%%/*}/$2.$1.''${digest:0:16}
        cp "$4" "$prefix/$key"
        objects=$(jq -c --arg kind "$1" --arg name "$2" --arg file "$3" --arg key "$key" --arg sha256 "$digest" \
          --argjson size "$(wc -c <"$4")" --argjson more "''${5:-{\}}" '. + [{$kind, $name, $file, $key, $sha256, $size} + $more]' <<<"$objects")
      }
      for name in clawdinator-discord-token-1 anthropic-api-key; do
        echo "secret $1" | age -r "$recipient" >/tmp/secret
        add secret "$name" "secrets/$name.age" /tmp/secret
      done
      add identity age-identity secrets/age-identity.key /aws/identity
      rm -rf /tmp/work && mkdir -p /tmp/work/clawdinators && cd /tmp/work/clawdinators
      git init --quiet && git config user.name t && git config user.email t@t
      echo "$1" >COMMIT && echo '{ outputs = _: { }; }' >flake.nix && git add -A && git commit --quiet -m "$1"
      tar -C /tmp/work -czf /tmp/seed clawdinators/.git
      add repo clawdinators repos/clawdinators.tar.gz /tmp/seed "{\"commit\": \"$(git rev-parse HEAD)\"}"
      jq -n --argjson generation "$1" --argjson objects "$objects" \
        '{schema: 2, $generation, instance: {id: "clawdinator-1", bootstrapPrefix: "bootstrap/clawdinator-1"}, $objects}' >/tmp/config.json
      mv /tmp/config.json "$prefix/config.json"
    '';
  };

  # The metadata service and the bucket.
  aws = instance: {
    systemd.services.aws = {
      wantedBy = [ "multi-user.target" ];
      before = [ "network-online.target" ];
      serviceConfig = {
        ExecStartPre = "${lib.getExe' pkgs.coreutils "install"} -D ${pkgs.writeText "id" instance} /aws/instance-id";
        ExecStart = "${lib.getExe pkgs.python3} ${./aws.py} /aws 0.0.0.0 8000";
      };
    };
    networking.firewall.allowedTCPPorts = [ 8000 ];
    environment.systemPackages = [
      makeBundle
      pkgs.jq
    ];
  };

  # A host after its switch. `bucket`: the machine with S3.
  host =
    {
      instance,
      bucket ? "127.0.0.1",
    }:
    { config, ... }:
    {
      imports = modules ++ [ (aws instance) ];
      systemd.settings.Manager.DefaultEnvironment = lib.concatStringsSep " " [
        "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8000"
        "AWS_ENDPOINT_URL_S3=http://${bucket}:8000"
      ];
      services.clawdinator = {
        enable = true;
        instanceName = "clawdinator-1";
        package = gateway;
        clawctl = pkgs.writeShellScriptBin "clawctl" "exit 0";
        bootstrap = {
          bucket = "fleet";
          region = "eu-central-1";
        };
        repoSeeds = [ "clawdinators" ];
        discordTokenFile = config.age.secrets.clawdinator-discord-token-1.path;
        anthropicApiKeyFile = config.age.secrets.anthropic-api-key.path;
        config.channels.discord.enabled = true;
      };
      age = {
        identityPaths = [ "/var/lib/clawdinator/bootstrap/current/secrets/age-identity.key" ];
        secrets = lib.genAttrs [ "clawdinator-discord-token-1" "anthropic-api-key" ] (name: {
          file = "/var/lib/clawdinator/bootstrap/current/secrets/${name}.age";
        });
      };
      # User data writes these files.
      environment.etc = {
        "clawdinator/instance-name".text = "clawdinator-1";
        "clawdinator/bootstrap-prefix".text = "bootstrap/clawdinator-1";
        "clawdinator/host".text = "clawdinator-1";
      };
      virtualisation.memorySize = 1536;
    };

  test =
    name: nodes: script:
    pkgs.testers.runNixOSTest {
      inherit name nodes;
      testScript = ''
        import json

        def heartbeat(bucket, instance):
            return json.loads(bucket.succeed(f"cat /aws/objects/heartbeats/clawdinator-1/{instance}.json"))

        def wait_for_stage(bucket, instance, stage):
            bucket.wait_until_succeeds(
                f"jq -e '.stage == \"{stage}\"' /aws/objects/heartbeats/clawdinator-1/{instance}.json", timeout=180
            )

        def name_active(bucket, instance):
            holder = json.dumps({"schema": 1, "id": "clawdinator-1", "instanceId": instance, "deploy": None, "at": "2026-11-26T00:00:00Z"})
            bucket.succeed(f"mkdir -p /aws/objects/active && echo '{holder}' > /aws/objects/active/clawdinator-1.json")

        ${script}
      '';
    };
  first = "i-00000000000000001";
  second = "i-00000000000000002";
in
{
  # From the bundle to an active gateway. A later switch and reboot do not change the checkout.
  boot = test "boot" { machine = host { instance = first; }; } ''
    machine.wait_for_unit("aws.service")
    machine.succeed("make-bundle 1", "systemctl restart clawdinator-bootstrap")
    machine.wait_for_unit("clawdinator-gateway.service", timeout=180)
    wait_for_stage(machine, "${first}", "active")
    machine.succeed("grep -qx 1 /var/lib/clawd/repos/clawdinators/COMMIT")
    machine.wait_until_succeeds(
        "jq -e '.gateway.channels[0].connected and .bundle.generation == 1' /aws/objects/heartbeats/clawdinator-1/${first}.json", timeout=180
    )

    # These three run the system's activation, and can't be hardened.
    for unit in machine.succeed("systemctl list-unit-files --plain --no-legend 'clawdinator-*.service' | cut -d ' ' -f 1").split():
        if unit not in ("clawdinator-secrets.service", "clawdinator-switch.service", "clawdinator-self-update.service"):
            machine.succeed(f"systemd-analyze security --no-pager --threshold=30 {unit}")

    machine.succeed("touch /var/lib/clawdinator/switched", "make-bundle 2", "systemctl start clawdinator-bootstrap")
    machine.wait_until_succeeds("grep -qx 'secret 2' /run/agenix/anthropic-api-key", timeout=60)
    machine.succeed("/run/current-system/bin/switch-to-configuration test", "systemctl restart multi-user.target clawdinator.target")
    machine.wait_for_unit("clawdinator-gateway.service")
    machine.succeed("grep -qx 1 /var/lib/clawd/repos/clawdinators/COMMIT")

    machine.shutdown()
    machine.start()
    machine.wait_for_unit("clawdinator-gateway.service", timeout=180)
    machine.succeed("grep -qx 1 /var/lib/clawd/repos/clawdinators/COMMIT")
  '';

  # A machine recovers from each fault of its boot by itself, and reports it meanwhile.
  recovers = test "recovers" { machine = host { instance = first; }; } ''
    machine.wait_for_unit("aws.service")
    machine.succeed("touch /aws/no-role", "echo '403 AccessDenied' > /aws/fault", "systemctl restart --no-block clawdinator-bootstrap")
    machine.wait_until_succeeds("journalctl -u clawdinator-bootstrap | grep 'names no role'", timeout=120)
    machine.succeed("rm /aws/no-role")
    machine.wait_until_succeeds("journalctl -u clawdinator-bootstrap | grep AccessDenied", timeout=180)
    machine.succeed("rm /aws/fault")
    machine.wait_until_succeeds("journalctl -u clawdinator-bootstrap | grep 'There is no bundle'", timeout=180)
    machine.succeed("make-bundle 1")
    machine.wait_for_unit("clawdinator-gateway.service", timeout=180)
    wait_for_stage(machine, "${first}", "active")

    # The start limit ends the gateway's restarts, and a new bundle starts it again.
    machine.succeed("systemctl stop clawdinator-gateway", "chmod 0 /run/agenix/anthropic-api-key; mount -t tmpfs none /run/agenix")
    machine.succeed("systemctl start --no-block clawdinator-gateway")
    machine.wait_until_succeeds("systemctl is-failed clawdinator-gateway", timeout=300)
    machine.wait_until_succeeds("jq -e '.failure.unit == \"clawdinator-gateway.service\"' /aws/objects/heartbeats/clawdinator-1/${first}.json", timeout=90)
    machine.succeed("umount /run/agenix", "make-bundle 2")
    machine.wait_for_unit("clawdinator-gateway.service", timeout=90)
  '';

  # Two machines of one instance: the standby becomes active only after the other has yielded.
  handover =
    test "handover"
      {
        a = host { instance = first; };
        b = host {
          instance = second;
          bucket = "a";
        };
      }
      ''
        a.start()
        a.wait_for_unit("aws.service")
        a.succeed("make-bundle 1")
        name_active(a, "${first}")
        a.wait_for_unit("clawdinator-gateway.service", timeout=180)
        b.start()
        wait_for_stage(a, "${second}", "standby")
        b.wait_for_unit("clawdinator-gateway-standby.service", timeout=180)
        b.fail("systemctl is-active clawdinator-gateway.service")
        b.succeed("journalctl -u clawdinator-gateway-standby | grep 'discord skipped'")

        name_active(a, "${second}")
        wait_for_stage(a, "${first}", "yielded")
        a.fail("systemctl is-active clawdinator-gateway.service")
        b.wait_for_unit("clawdinator-gateway.service", timeout=60)
        b.fail("systemctl is-active clawdinator-gateway-standby.service")

        # S3 is unreachable: both keep their roles.
        a.succeed("echo '503 SlowDown' > /aws/fault", "sleep 70")
        b.succeed("systemctl is-active clawdinator-gateway.service")
        a.fail("systemctl is-active clawdinator-gateway.service")
        a.succeed("rm /aws/fault")

        # Handover back to the first machine.
        name_active(a, "${first}")
        a.wait_for_unit("clawdinator-gateway.service", timeout=60)
        wait_for_stage(a, "${second}", "yielded")
      '';

  # Two writers over NFS lose no line, and a new file of the other host is visible immediately.
  memory =
    let
      node =
        { pkgs, ... }:
        {
          environment.systemPackages = [
            pkgs.jq
            pkgs.util-linux
          ];
          boot.supportedFilesystems = [ "nfs" ];
        };
      options = "nfsvers=4.1,hard,lookupcache=positive";
      tool = name: "CLAWDINATOR_MEMORY_DIR=/mnt bash ${../../scripts}/memory-${name}.sh";
    in
    test "memory"
      {
        server = {
          services.nfs.server = {
            enable = true;
            exports = "/memory *(rw,no_root_squash,fsid=0)";
            createMountPoints = true;
          };
          networking.firewall.allowedTCPPorts = [ 2049 ];
        };
        a = node;
        b = node;
      }
      ''
        start_all()
        server.wait_for_unit("nfs-server.service")
        for node in (a, b):
            node.succeed("mkdir -p /mnt")
            node.wait_until_succeeds("mount -t nfs4 -o ${options} server:/ /mnt", timeout=120)
        # If missing files were cached, b would not see it for up to a minute.
        b.fail("test -e /mnt/new.md")
        a.succeed("echo one | ${tool "write"} --create new.md")
        b.succeed("test -e /mnt/new.md")
        writer = "for i in $(seq 40); do echo $HOSTNAME-$i | ${tool "write"} --append ops.md || exit 1; done"
        a.execute(f"({writer}; echo $? > /tmp/done) >/dev/null 2>&1 &")
        b.succeed(writer)
        a.wait_until_succeeds("grep -qx 0 /tmp/done", timeout=180)
        assert b.succeed("sort -u /mnt/ops.md | wc -l").strip() == "80"
      '';
}
