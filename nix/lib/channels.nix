# Forms of the gateway's channels that have changed.
{ lib }:
{
  /**
    Places of a configuration that have the older `allow` of a Discord channel.
  */
  legacy =
    config:
    lib.concatLists (
      lib.mapAttrsToList (
        guild: settings:
        lib.mapAttrsToList (channel: _: "channels.discord.guilds.${guild}.channels.${channel}") (
          lib.filterAttrs (_: one: one ? allow) (settings.channels or { })
        )
      ) (config.channels.discord.guilds or { })
    );

  /**
    The configuration with `enabled` where it says `allow`; where it says both, `enabled` counts.
  */
  modern =
    config:
    let
      channel =
        settings:
        removeAttrs settings [ "allow" ]
        // lib.optionalAttrs (settings ? allow) { enabled = settings.enabled or settings.allow; };
      guild =
        settings:
        settings
        // lib.optionalAttrs (settings ? channels) {
          channels = lib.mapAttrs (_: channel) settings.channels;
        };
    in
    config
    // lib.optionalAttrs (config ? channels.discord.guilds) {
      channels = config.channels // {
        discord = config.channels.discord // {
          guilds = lib.mapAttrs (_: guild) config.channels.discord.guilds;
        };
      };
    };
}
