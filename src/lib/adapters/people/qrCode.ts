/** A QR code of two rows a line, for terminals; loaded when one is shown. */
export async function qrCode(text: string): Promise<string> {
  const { renderUnicodeCompact } = await import('uqr')
  return renderUnicodeCompact(text)
}
