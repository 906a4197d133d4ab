// What a dashboard of ours must be, by Grafana's own types. The test puts the files below this and
// runs the TypeScript compiler over it.
import type { Dashboard, Panel, RowPanel } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as StatesOptions, FieldConfig as StatesField } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type { Options as TableOptions, FieldConfig as TableField } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TimeOptions, FieldConfig as TimeField } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has no enums: their values as literals.
type Json<T> = unknown extends T
  ? unknown
  : T extends string
    ? `${T}`
    : T extends number
      ? number
      : T extends boolean | null | undefined
        ? T
        : T extends Array<infer U>
          ? Array<Json<U>>
          : T extends object
            ? { [K in keyof T]: Json<T[K]> }
            : T;

// The same, with nothing beside what is known and not all of it required: Grafana has defaults.
type Some<T> = T extends Array<infer U> ? Array<Some<U>> : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;

type Query = {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${DS_PROMETHEUS}' };
  editorMode: 'code' | 'builder';
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  format?: 'table' | 'time_series' | 'heatmap';
};

type Defaults = NonNullable<NonNullable<Panel['fieldConfig']>['defaults']>;
type Of<Name extends string, Options, Field> = Json<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'>> & {
  type: Name;
  title: string;
  description: string;
  options: Some<Json<Options>>;
  fieldConfig: { defaults: Json<Omit<Defaults, 'custom'>> & { custom?: Some<Json<Field>> }; overrides: [] };
  targets: Query[];
};
type OurPanel =
  | Of<'stat', StatOptions, {}>
  | Of<'state-timeline', StatesOptions, StatesField>
  | Of<'table', TableOptions, TableField>
  | Of<'timeseries', TimeOptions, TimeField>
  | Json<RowPanel>;

type Annotation = NonNullable<NonNullable<Dashboard['annotations']>['list']>[number];
type OurDashboard = Json<Omit<Dashboard, 'panels' | 'annotations' | 'templating'>> & {
  // Read by the import dialog; the schema is of what is stored.
  __inputs: unknown;
  __requires: unknown;
  templating: { list: Array<Json<NonNullable<NonNullable<Dashboard['templating']>['list']>[number]>> };
  // Fields of Prometheus' own annotations, which the schema leaves to the data source.
  annotations: { list: Array<Json<Annotation> & { expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: string }> };
  panels: OurPanel[];
};

