# services.clawdinator on a machine of your own: the example of the README, complete. Evaluated by `nix flake check`.
#
#   nixosSystem { modules = [ clawdinators.nixosModules.default ./this-file.nix ./hardware.nix ]; }
{
  boot.isContainer = true; # stands for your own boot loader and file systems
  system.stateVersion = "25.05";

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
            allow = true;
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
}
