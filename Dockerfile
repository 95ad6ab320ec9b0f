# One build for the three apps, the scenario and the lab; each target below differs only in its command, so layers are shared.
ARG DTX_IMAGE_PREFIX=

FROM ${DTX_IMAGE_PREFIX}node:24-slim AS build
WORKDIR /app
# Another registry for this build only, given from outside; npm ignores the variable while it is empty.
ARG NPM_CONFIG_REGISTRY=
# The manifests first: as long as they do not change, the installed packages come from the layer cache.
COPY package.json package-lock.json .npmrc ./
COPY libs/dtx/package.json libs/dtx/
COPY libs/host/package.json libs/host/
COPY libs/shop/package.json libs/shop/
COPY libs/console/package.json libs/console/
COPY apps/order/package.json apps/order/
COPY apps/payment/package.json apps/payment/
COPY apps/inventory/package.json apps/inventory/
COPY tools/package.json tools/
RUN npm ci
COPY tsconfig.base.json tsconfig.json ./
COPY libs libs
COPY apps apps
COPY tools tools
COPY bench bench
COPY examples examples
RUN npm run build && npm prune --omit=dev

FROM ${DTX_IMAGE_PREFIX}node:24-slim AS runtime
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app ./
# uid 1000, which the image has; nothing in /app is writable for it.
USER node

FROM runtime AS order
CMD ["node", "apps/order/dist/main.js"]

FROM runtime AS payment
CMD ["node", "apps/payment/dist/main.js"]

FROM runtime AS inventory
CMD ["node", "apps/inventory/dist/main.js"]

FROM runtime AS scenario
CMD ["node", "tools/dist/commands/scenario.js"]

FROM runtime AS lab
CMD ["node", "tools/dist/commands/lab.js"]

FROM runtime AS balancer
CMD ["node", "tools/dist/commands/balancer.js"]
