import type { Reply } from '../http.js'
import type { ChecksumName } from './checksums.js'
import { AwsError } from './error.js'
import { type XmlValue, xmlDocument } from './xml.js'

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'

export function xmlReply(root: string, value: XmlValue): Reply {
  return { status: 200, headers: { 'content-type': 'application/xml' }, body: xmlDocument(root, value, NAMESPACE) }
}

/** How a listing writes keys. @throws AwsError InvalidArgument for another `encoding-type` than url */
export function urlEncoded(encoding: string | null): (text: string) => string {
  if (encoding !== null && encoding !== 'url') throw invalidArgument('Invalid Encoding Method specified in Request')
  return (text) => (encoding === 'url' ? encodeURIComponent(text).replaceAll('%2F', '/') : text)
}

export function invalidArgument(message: string): AwsError {
  return new AwsError('InvalidArgument', 400, message)
}

export function malformedXml(): AwsError {
  return new AwsError('MalformedXML', 400, 'The XML you provided was not well-formed')
}

export function checksumElements(checksums: ReadonlyMap<ChecksumName, string>): Record<string, XmlValue> {
  return Object.fromEntries([...checksums].map(([name, value]) => [`Checksum${name.toUpperCase()}`, value]))
}
