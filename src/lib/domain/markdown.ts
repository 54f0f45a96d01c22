/** Names come from chats: nothing in them may become Markdown, HTML or a link, which GitHub makes of bare addresses. */
export function escapeMarkdown(text: string): string {
  return text
    .replace(/[\\`*_{}[\]<>()#|!~]/g, '\\$&')
    .replace(/:(?=\/\/)/g, '\\:')
    .replace(/\bwww(?=\.)/gi, '$&\\')
}

/** Text from outside as code: inside it GitHub renders no Markdown and no mentions. */
export function markdownCode(text: string): string {
  return `\`${text.replaceAll('`', "'").replace(/\s+/g, ' ')}\``
}
