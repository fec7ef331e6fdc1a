// What mediasoup itself, without a worker, makes of a bot's parameters: node mediasoup_ortc.mjs HOST < request.json
// A request is {"capabilities": null} for those of the router, or {"produced": {kind: rtpParameters}, "capabilities": …}
// for what a consumer with these capabilities would be given.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const host = resolve(process.argv[2]);
const { CODECS } = await import(pathToFileURL(`${host}/api.mjs`));
const ortc = (await import(pathToFileURL(`${host}/node_modules/mediasoup/node/lib/ortc.js`))).default;

const { produced, capabilities } = JSON.parse(readFileSync(0));
const router = ortc.generateRouterRtpCapabilities(CODECS);
if (capabilities === null) {
  console.log(JSON.stringify(router));
} else {
  ortc.validateRtpCapabilities(capabilities);
  const consumers = {};
  for (const [kind, parameters] of Object.entries(produced)) {
    ortc.validateRtpParameters(parameters);
    const mapping = ortc.getProducerRtpParametersMapping(parameters, router);
    const consumableRtpParameters = ortc.getConsumableRtpParameters(kind, parameters, router, mapping);
    if (!ortc.canConsume(consumableRtpParameters, capabilities)) throw new Error(`${kind} cannot be consumed`);
    consumers[kind] = ortc.getConsumerRtpParameters({
      consumableRtpParameters,
      remoteRtpCapabilities: capabilities,
      pipe: false,
      enableRtx: true,
    });
  }
  console.log(JSON.stringify(consumers));
}
