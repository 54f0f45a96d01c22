# services.clawdinator on a machine of your own, every option of the README. Evaluated by `nix flake check`.
# Beside it goes what your machine is: boot loader, file systems, network.
{
  # In a flake of your own: inputs.clawdinators.nixosModules.default, which brings agenix and the gateway's package along.
  imports = [ ../modules/clawdinator.nix ];

  services.clawdinator = {
    enable = true;
    instanceName = "clawdinator-1";

    # Secrets come from wherever you decrypt them to. Without the S3 bundle:
    bootstrap.enable = false;
    heartbeat.enable = false;

    config = {
      channels.discord = {
        enabled = true;
        dm.enabled = false;
        guilds."<GUILD_ID>" = {
          requireMention = true;
          channels."<CHANNEL_ID>" = {
            enabled = true;
            requireMention = true;
          };
        };
      };
    };

    discordTokenFile = "/run/agenix/discord-bot-token";
    anthropicApiKeyFile = "/run/agenix/anthropic-api-key";
    openaiApiKeyFile = "/run/agenix/openai-api-key";

    githubApp = {
      enable = true;
      appId = "123456";
      installationId = "12345678";
      privateKeyFile = "/run/agenix/github-app-key";
    };
    githubSync = {
      enable = true;
      org = "openclaw";
    };

    memoryEfs = {
      enable = true;
      mountPoint = "/var/lib/clawd/memory";
      fileSystemId = "fs-0123456789abcdef0";
      region = "eu-central-1";
    };
  };

  system.stateVersion = "25.05";
}
