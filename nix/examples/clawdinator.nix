# services.clawdinator on your own machine, with every option of the README. `nix flake check` evaluates it. Add the boot loader,
# file systems and network of your machine.
{
  # In your own flake: inputs.clawdinators.nixosModules.default, which includes agenix and the gateway's package.
  imports = [ ../modules/clawdinator.nix ];

  services.clawdinator = {
    enable = true;
    instanceName = "clawdinator-1";

    # Without a bundle in S3; you decrypt the secrets yourself.
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
